package promote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"

	"github.com/google/go-cmp/cmp"
)

func TestASetIsPromoted(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	shop := push(t, s.source, "deepsky/shop:2.0-rc.1", twoPlatforms(t, "5h0p"))
	push(t, s.source, "deepsky/shop:2.0-rc.2", twoPlatforms(t, "newer"))
	set := hello + ":1.0\n# the shop\ndeepsky/shop:2.0-rc.1@" + shop + "=2.0\n"
	path := filepath.Join(t.TempDir(), "images")
	if err := os.WriteFile(path, []byte(set), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		variable, value, promotion string
	}{{"IMAGES_FILE", path, "copied"}, {"IMAGES", set, "same"}, {"IMAGES", strings.ReplaceAll(hello+":1.0,deepsky/shop:2.0-rc.2", "2.0-rc.2", "2.0-rc.2=2.1"), "mixed"}} {
		got := promote(t, s.with("IMAGE", "", row.variable, row.value))
		if diff := cmp.Diff(map[string]string{"PROMOTION": row.promotion}, got.results); got.status != 0 || diff != "" {
			t.Errorf("%s: status %d: %s\nresults (-want +got):\n%s", row.variable, got.status, got.last, diff)
		}
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("hello holds %q, want %q", now, s.digest)
	}
	if now := holds(t, s.target, "deepsky/shop:2.0"); now != shop {
		t.Errorf("shop holds %q, want %q", now, shop)
	}
}

func TestProblemsOfASet(t *testing.T) {
	t.Parallel()
	zeros := "sha256:" + strings.Repeat("0", 64)
	s := newStage(t)
	for _, row := range []struct {
		description string
		variables   []string
		texts       []string
	}{
		{"both", []string{"IMAGES", "a/b:1"}, []string{"more than one is set"}},
		{"none in it", []string{"IMAGE", "", "IMAGES", " , # a/b:1"}, []string{"IMAGES names no image"}},
		{"no file", []string{"IMAGE", "", "IMAGES_FILE", "/nonexistent/images"}, []string{"IMAGES_FILE", "no such file"}},
		{"several at once", []string{"IMAGE", "", "IMAGES", "a/b,c/d:1=-,e:1"}, []string{`"a/b"`, `"-"`, `"e:1"`}},
		{"twice", []string{"IMAGE", "", "IMAGES", "a/b:1,a/b:2=1"}, []string{`"a/b:1" would be written twice`}},
		{"for one alone", []string{"IMAGE", "", "IMAGES", "a/b:1", "DIGEST", zeros, "FORCE_REPLACES", zeros}, []string{"DIGEST is for one", "FORCE_REPLACES is for one"}},
		{"two release versions", []string{"IMAGE", "", "IMAGES", "a/b:1=2", "RELEASE_VERSION", "3"}, []string{"RELEASE_VERSION is set"}},
		{"an account", []string{"IMAGE", "", "IMAGES", "user:S3CRET@host/a/b:1"}, []string{"an account"}},
		{"half a digest", []string{"IMAGE", "", "IMAGES", "a/b:1@sha256:12"}, []string{"IMAGES", "digest"}},
		{"same registry", []string{"IMAGE", "", "IMAGES", "a/b:1=2,a/b:3", "TARGET_REGISTRY", s.source.Host()}, []string{"a/b:3"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			got := promote(t, s.with(row.variables...))
			if got.status != 2 || len(got.results) > 0 || strings.Contains(got.log, "S3CRET") {
				t.Errorf("status %d, results %v: %s", got.status, got.results, got.log)
			}
			for _, text := range row.texts {
				if !strings.Contains(got.last, text) {
					t.Errorf("the last line lacks %q: %s", text, got.last)
				}
			}
		})
	}
}

func TestAllRefusalsOfASetAreToldAtOnce(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	push(t, s.source, "deepsky/fine:1.0", twoPlatforms(t, "f1ne"))
	got := promote(t, s.with("IMAGE", "", "IMAGES", hello+":1.0,deepsky/missing:1.0,deepsky/fine:1.0"))
	if got.status != 3 || len(writes(s.target)) > 0 {
		t.Errorf("status %d, writes %v", got.status, writes(s.target))
	}
	for _, text := range []string{"2 of 3 images", held, "deepsky/missing:1.0"} {
		if !strings.Contains(got.last, text) {
			t.Errorf("the last line lacks %q: %s", text, got.last)
		}
	}
	if !strings.Contains(got.stdout, "3 images: 2 failed, 1 not done") {
		t.Errorf("the table ends otherwise than with what became of each:\n%s", got.stdout)
	}
}

// TestWhatIsForbiddenStaysForbidden: where one image is refused and another could not be looked up, another attempt would
// not help, and what to do about the first is not told about the second.
func TestWhatIsForbiddenStaysForbidden(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	for _, away := range []string{hello, "deepsky/fine"} {
		push(t, s.source, "deepsky/fine:1.0", twoPlatforms(t, "f1ne"))
		s.target.Break("GET "+away+"/manifests/1.0", -1, faultyregistry.Status(503, ""))
		s.target.Break("GET deepsky/fine/manifests/1.0", -1, faultyregistry.Status(503, ""))
		got := promote(t, s.with("IMAGE", "", "IMAGES", hello+":1.0,deepsky/fine:1.0"))
		s.target.Mend()
		forbidden := away != hello
		if forbidden != (got.status == 3) || forbidden != strings.Contains(got.last, "FORCE_REPLACES") || !forbidden && got.status != 6 {
			t.Errorf("%s is away: status %d, %s", away, got.status, got.last)
		}
	}
}
