package verify

import "testing"

// TestWhatIsWaitedFor has what a person reads every ten seconds.
func TestWhatIsWaitedFor(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		config  Config
		looked  bool
		waiting string
	}{
		{"describing", Config{}, false, "reading the environment"},
		{"describing, after a look", Config{}, true, "reading the environment"},
		{"judging, in the first look", Config{ExpectDigest: "sha256:1"}, false, "reading the environment"},
		{"judging, after a look", Config{ExpectDigest: "sha256:1"}, true, "waiting until the environment is right: pods: one is old"},
	} {
		r := &run{Config: &row.config, report: Report{Checks: []Check{{Name: "pods", Status: failed, Found: "one is old"}}}}
		if row.looked {
			r.problems.Store(r.report.problems())
		}
		if got := r.waitingFor(); got != row.waiting {
			t.Errorf("%s: %q, want %q", row.name, got, row.waiting)
		}
	}
}
