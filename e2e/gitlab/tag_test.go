//go:build e2e

package gitlab

import (
	"strings"
	"testing"
)

// TestAGitTag runs the pipelines of Git tags: of a commit whose image dev has, of one that has none, and of a name that
// is no version.
func TestAGitTag(t *testing.T) {
	s := begin(t)
	s.runs(nil, toDev...)
	before := s.production()
	tags, err := s.world.Testing.Tags(t.Context())
	if err != nil || len(tags) != 2 {
		t.Fatalf("testing holds %q, %v; want the branch's version, and the commit's", tags, err)
	}
	tested := s.digest(s.world.Testing, tags[0])

	out := s.tagged("v1.2", toDev...)
	if !strings.Contains(out, "it is tagged, not built again") {
		t.Errorf("it does not say that it takes the commit's image:\n%s", out)
	}
	if got := s.digest(s.world.Testing, "1.2"); got != tested || got == "" {
		t.Errorf("1.2 is %q in testing, want what dev has tested: %q", got, tested)
	}
	s.meant(s.world.Dev, "1.2", tested)
	s.untouched(before)
	s.tagged("v1.2", "production")
	if got := s.digest(s.world.Production, "1.2"); got != tested {
		t.Errorf("1.2 is %q in production, want %q", got, tested)
	}
	s.meant(s.world.Prod, "1.2", tested)
	s.shows(s.world.Prod, first)

	const next = "Hello World! I'm using the version 1.3"
	s.commit("The next version", map[string]string{"index.html": strings.Replace(project.read(t, "index.html"), first, next, 1)})
	whole, err := project.RunTag(t.Context(), "v1.3") // as GitLab starts it: up to the buttons
	if err != nil || whole.Status != 0 {
		t.Fatalf("the pipeline ended with %v, exit status %d\n%s", err, whole.Status, whole.Output)
	}
	built := s.digest(s.world.Testing, "1.3")
	if built == "" || built == tested {
		t.Errorf("1.3 is %q in testing", built)
	}
	s.meant(s.world.Dev, "1.3", built)
	s.shows(s.world.Dev, next)
	s.shows(s.world.Prod, first)

	other, err := project.RunTag(t.Context(), "nightly")
	if err != nil || strings.Contains(other.Output, "clone-build-push") {
		t.Errorf("a tag that is no version was built: %v\n%s", err, other.Output)
	}
}

// tagged has jobs of a Git tag's pipeline run well, and returns what they wrote.
func (s *scenario) tagged(tag string, jobs ...string) string {
	s.Helper()
	job, err := project.RunTag(s.Context(), tag, jobs...)
	if err != nil {
		s.Fatal(err)
	}
	s.passed(job, jobs...)
	return job.Output
}
