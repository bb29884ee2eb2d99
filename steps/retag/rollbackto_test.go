package retag_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRollbackTo goes through the life of one tag: 1.0, 1.0 patched, 1.1, and from there back.
func TestRollbackTo(t *testing.T) {
	t.Parallel()
	first, patched, next := 0, 1, 2 // of digests
	start := func(t *testing.T) (*world, []string) {
		w := newWorld(t, everything)
		var digests []string
		for _, version := range []string{"1.0", "1.0", "1.1"} {
			digests = append(digests, w.push(t, version))
			if got := w.retag(t, "IMAGE=deepsky/hello:"+version); got.Status != 0 {
				t.Fatal(got.log)
			}
		}
		return w, digests
	}
	for _, row := range []struct {
		name   string
		to     func(digests []string) string
		before []string // ROLLBACK_TO of an earlier run
		want   int      // of digests; what the tag means in the end, and after the same run once more
		status int
		says   []string // in the log of the first run
		moves  int      // writes of the tag by both runs
	}{
		{name: "a version that was patched", to: is("1.0"), want: patched, moves: 1,
			says: []string{"2 images of the history were 1.0: taking the newest that the tag does not mean now"}},
		{name: "the present version", to: is("1.1"), want: next, says: []string{"the tag means 1.1 already"}},
		{name: "a digest", to: func(d []string) string { return d[first] }, want: first, moves: 1},
		{name: "the beginning of a digest", to: func(d []string) string { return d[first][:19] }, want: first, moves: 1},
		{name: "an age that is too great", to: is("3h"), want: next, status: 4,
			says: []string{"its history has no image that is so old: 3h. It has ", "deepsky/hello:1.1); ", "deepsky/hello:1.0); "}},
		{name: "a version that it never was", to: is("0.9"), want: next, status: 4,
			says: []string{"its history has no image 0.9. It has ", "seconds ago, ", "Hint: Name an image of the history with ROLLBACK_TO"}},
		{name: "the version that was left, after a rollback", before: []string{"1.0"}, to: is("1.1"), want: next, moves: 1},
		{name: "an age, after a rollback", before: []string{"1.0"}, to: is("1ms"), want: patched, says: []string{"the tag means 1ms already"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w, digests := start(t)
			for _, to := range row.before {
				if got := w.retag(t, "ROLLBACK=true", "ROLLBACK_TO="+to); got.Status != 0 {
					t.Fatal(got.log)
				}
			}
			written := len(w.requests())
			for i := range 2 {
				got := w.retag(t, "ROLLBACK=true", "ROLLBACK_TO="+row.to(digests))
				if got.Status != row.status || row.status == 0 && got.Results["CURRENT_DIGEST"] != digests[row.want] {
					t.Fatalf("run %d: exit status %d, %v, want %s:\n%s", i+1, got.Status, got.Results, digests[row.want], got.log)
				}
				for _, text := range row.says {
					if i == 0 && !strings.Contains(got.log, text) {
						t.Errorf("the log lacks %q:\n%s", text, got.log)
					}
				}
			}
			moves := len(slices.DeleteFunc(w.requests()[written:], func(request string) bool { return !strings.HasPrefix(request, "PUT ") }))
			if moves != row.moves {
				t.Errorf("the tag was written %d times, want %d", moves, row.moves)
			}
		})
	}
}

func is(text string) func([]string) string { return func([]string) string { return text } }

func TestRollbackToIsChecked(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		with []string
		says string
	}{
		{[]string{"ROLLBACK=true", "ROLLBACK_TO=1.0", "DIGEST=" + d10}, "DIGEST and ROLLBACK_TO are both set"},
		{[]string{"IMAGE=deepsky/hello:1.0", "ROLLBACK_TO=1.0"}, "ROLLBACK_TO needs ROLLBACK=true"},
		{[]string{"ROLLBACK=true", "ROLLBACK_TO=a b"}, `ROLLBACK_TO: "a b" is neither a version, nor a digest, nor an age`},
		{[]string{"ROLLBACK=true", "ROLLBACK_TO=sha256:abc"}, `ROLLBACK_TO: "sha256:abc" is no digest`},
	} {
		c := cluster(t)
		if got := run(t, c, row.with...); got.Status != 2 || !strings.Contains(got.last, row.says) {
			t.Errorf("%v: exit status %d:\n%s", row.with, got.Status, got.log)
		}
	}
}

// TestVersionsAreRemembered tells what is kept on the tag: what a version was when the tag was moved away from it.
func TestVersionsAreRemembered(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	var kept []any
	for _, with := range [][]string{
		{"IMAGE=deepsky/hello:1.0", "DIGEST=" + d10}, {"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11},
		{"ROLLBACK=true"}, {"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11},
	} {
		if got := run(t, c, with...); got.Status != 0 {
			t.Fatal(got.log)
		}
		annotations, _ := specTag(t, c)["annotations"].(map[string]any)
		kept = append(kept, annotations["dockline/versions"])
	}
	want := []any{nil, d10 + "=1.0", d11 + "=1.1 " + d10 + "=1.0", d11 + "=1.1 " + d10 + "=1.0"}
	if diff := cmp.Diff(want, kept); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}
