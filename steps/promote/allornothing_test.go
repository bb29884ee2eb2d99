package promote

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
)

// service returns the image name of a set's service.
func service(i int) string { return fmt.Sprintf("deepsky/service-%03d", i) }

// newSet pushes n services as 1.0 into the source, all on one base. It returns their digests, and IMAGES.
func newSet(t testing.TB, s *stage, n int) (digests []string, images string) {
	t.Helper()
	base := must(random.Image(1024, 2))
	var names []string
	for i := range n {
		layer := must(must(random.Image(256, 1)).Layers())
		digests = append(digests, pushImage(t, s.source, service(i)+":1.0", must(mutate.AppendLayers(base, layer...))))
		names = append(names, service(i)+":1.0")
	}
	return digests, strings.Join(names, ",")
}

func pushImage(t testing.TB, to *faultyregistry.Registry, at string, image v1.Image) string {
	t.Helper()
	if err := remote.Write(must(name.ParseReference(to.Host()+"/"+at, name.Insecure)), image); err != nil {
		t.Fatal(err)
	}
	return must(image.Digest()).String()
}

// digestAt returns the digest that a tag holds, "" when it is absent.
func digestAt(t testing.TB, in *faultyregistry.Registry, at string) string {
	t.Helper()
	found, err := remote.Head(must(name.ParseReference(in.Host()+"/"+at, name.Insecure)))
	if err != nil {
		if strings.Contains(err.Error(), "404") {
			return ""
		}
		t.Fatal(err)
	}
	return found.Digest.String()
}

// tagsOf returns what the services' tags 1.0 hold.
func tagsOf(t testing.TB, in *faultyregistry.Registry, n int) []string {
	t.Helper()
	in.Mend()
	var digests []string
	for i := range n {
		digests = append(digests, digestAt(t, in, service(i)+":1.0"))
	}
	return digests
}

// TestASetIsPromotedAsAWhole has the write of one tag fail, for each position, in a set of which some tags are absent
// and some are replaced: all are to hold what they held, and the next run completes the set.
func TestASetIsPromotedAsAWhole(t *testing.T) {
	t.Parallel()
	const n = 4
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault
		status      int
	}{
		{"the registry fails", faultyregistry.Status(503, ""), 6},
		{"the tag is protected", faultyregistry.Status(403, "DENIED"), 5},
		{"the tag is in conflict", faultyregistry.Status(409, ""), 3},
	} {
		for position := range n {
			t.Run(fmt.Sprintf("%s, %d", row.description, position), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				digests, images := newSet(t, s, n)
				for i := 0; i < n; i += 2 {
					pushImage(t, s.target, service(i)+":1.0", must(random.Image(100, 1)))
				}
				before := tagsOf(t, s.target, n)
				s.target.Break("PUT "+service(position)+"/manifests/1.0", -1, row.fault)
				if position%2 == 0 { // the backup tag's path begins likewise
					s.target.Break("PUT "+service(position)+"/manifests/1.0-replaced", -1, faultyregistry.Then(func() {}))
				}
				variables := s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "a new release",
					"REPORT_FILE", filepath.Join(t.TempDir(), "report.json"))
				got := promote(t, variables)
				want := row.status
				if position%2 == 0 && row.status == 5 {
					want = 3 // a registry that refuses to overwrite is told from one that lets nobody in
				}
				if got.status != want || !strings.Contains(got.last, service(position)) || !strings.Contains(got.last, "as they were") {
					t.Errorf("status %d, want %d; last line %q", got.status, want, got.last)
				}
				if diff := cmp.Diff(before, tagsOf(t, s.target, n)); diff != "" {
					t.Errorf("tags after the failure (-before +after):\n%s", diff)
				}
				if got := promote(t, variables); got.status != 0 || got.results["PROMOTION"] != "mixed" {
					t.Errorf("the next run ends in %d, %v: %s", got.status, got.results, got.last)
				}
				if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); diff != "" {
					t.Errorf("tags after the next run (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// TestTagsThatStayAreNamed has a registry that deletes no tag, as the distribution registry up to version 2 does not.
func TestTagsThatStayAreNamed(t *testing.T) {
	t.Parallel()
	const n = 3
	for _, refusal := range []int{400, 405} {
		s := newStage(t)
		digests, images := newSet(t, s, n)
		old := pushImage(t, s.target, service(1)+":1.0", must(random.Image(100, 1)))
		s.target.Break("PUT "+service(2)+"/manifests/1.0", -1, faultyregistry.Status(500, ""))
		s.target.Break("DELETE ", -1, faultyregistry.Status(refusal, "UNSUPPORTED"))
		report := filepath.Join(t.TempDir(), "report.json")
		got := promote(t, s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "why", "REPORT_FILE", report))
		if got.status != 6 || !strings.Contains(got.last, service(0)+":1.0") || strings.Contains(got.last, service(1)+":1.0") {
			t.Errorf("status %d, last line %q; want 6, and the first service's tag alone named", got.status, got.last)
		}
		for _, request := range s.target.Requests() {
			if strings.HasPrefix(request, "DELETE ") && strings.Contains(request, "sha256:") {
				t.Errorf("deleted by digest: %s", request)
			}
		}
		if diff := cmp.Diff([]string{digests[0], old, ""}, tagsOf(t, s.target, n)); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
		var content struct{ Details setReport }
		if err := json.Unmarshal(must(os.ReadFile(report)), &content); err != nil {
			t.Fatal(err)
		}
		var states []tagState
		for _, image := range content.Details.Images {
			states = append(states, image.Tag)
		}
		if diff := cmp.Diff([]tagState{tagStays, tagPutBack, tagRemoved}, states); diff != "" {
			t.Errorf("states in the report (-want +got):\n%s", diff)
		}
		if got := promote(t, s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "why")); got.status != 0 {
			t.Errorf("the next run ends in %d: %s", got.status, got.last)
		}
		if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); diff != "" {
			t.Errorf("tags after the next run (-want +got):\n%s", diff)
		}
	}
}

// TestWhatSomebodyElseWroteIsNotPutBack has another one move a tag of the set before this run can put it back, and
// another write a tag before this run does.
func TestWhatSomebodyElseWroteIsNotPutBack(t *testing.T) {
	t.Parallel()
	const n = 3
	t.Run("after this run", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		_, images := newSet(t, s, n)
		theirs := ""
		s.target.Break("PUT "+service(2)+"/manifests/1.0", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			if theirs == "" {
				theirs = pushImage(t, s.target, service(0)+":1.0", must(random.Image(100, 1)))
			}
			faultyregistry.Status(500, "")(w, r, next)
		})
		got := promote(t, s.with("IMAGE", "", "IMAGES", images))
		if got.status == 0 || theirs == "" {
			t.Fatalf("status %d: %s", got.status, got.log)
		}
		if now := tagsOf(t, s.target, n)[0]; now != theirs {
			t.Errorf("the tag holds %q, want what the other wrote, %q", now, theirs)
		}
	})
	t.Run("right after it was written", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		_, images := newSet(t, s, n)
		theirs := ""
		s.target.Break("PUT "+service(1)+"/manifests/1.0", 1, faultyregistry.Then(func() {
			theirs = pushImage(t, s.target, service(1)+":1.0", must(random.Image(100, 1)))
		}))
		got := promote(t, s.with("IMAGE", "", "IMAGES", images))
		if got.status != 3 || !strings.Contains(got.last, theirs) {
			t.Errorf("status %d, last line %q; want 3 and the digest %s", got.status, got.last, theirs)
		}
		if diff := cmp.Diff([]string{"", theirs, ""}, tagsOf(t, s.target, n)); diff != "" {
			t.Errorf("tags (-want +got):\n%s", diff)
		}
	})
	t.Run("before any is written", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		_, images := newSet(t, s, n)
		s.target.Break("PUT "+service(1)+"/manifests/sha256:", 1, faultyregistry.Then(func() {
			pushImage(t, s.target, service(2)+":1.0", must(random.Image(100, 1)))
		}))
		got := promote(t, s.with("IMAGE", "", "IMAGES", images))
		if got.status != 3 || !strings.Contains(got.last, service(2)) {
			t.Errorf("status %d, last line %q", got.status, got.last)
		}
		if now := tagsOf(t, s.target, n); now[0]+now[1] != "" {
			t.Errorf("tags moved: %q", now)
		}
	})
}

// TestNoTagMovesBeforeAllImagesAreThere has the copy of the last image fail, and one refused by the guard.
func TestNoTagMovesBeforeAllImagesAreThere(t *testing.T) {
	t.Parallel()
	const n = 5
	t.Run("a layer is lost", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		_, images := newSet(t, s, n)
		s.target.Break("PUT "+service(n-1)+"/manifests/sha256:", -1, faultyregistry.Status(500, ""))
		got := promote(t, s.with("IMAGE", "", "IMAGES", images))
		if now := strings.Join(tagsOf(t, s.target, n), ""); got.status == 0 || now != "" {
			t.Errorf("status %d, tags %q", got.status, now)
		}
	})
	t.Run("one is another image", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		_, images := newSet(t, s, n)
		pushImage(t, s.target, service(n-1)+":1.0", must(random.Image(100, 1)))
		s.target.Forget()
		got := promote(t, s.with("IMAGE", "", "IMAGES", images))
		if got.status != 3 || len(writes(s.target)) > 0 {
			t.Errorf("status %d, writes %v", got.status, writes(s.target))
		}
	})
}

func TestTwoHundredImages(t *testing.T) {
	t.Parallel()
	const n = 200
	s := newStage(t)
	digests, images := newSet(t, s, n)
	list := filepath.Join(t.TempDir(), "images")
	if err := os.WriteFile(list, []byte(strings.ReplaceAll(images, ",", "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	s.target.Break("PUT "+service(n/2)+"/manifests/1.0", -1, faultyregistry.Status(500, ""))
	got := promote(t, s.with("IMAGE", "", "IMAGES_FILE", list))
	if now := strings.Join(tagsOf(t, s.target, n), ""); got.status == 0 || now != "" {
		t.Errorf("status %d, tags %q", got.status, now)
	}
	got = promote(t, s.with("IMAGE", "", "IMAGES_FILE", list))
	if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); got.status != 0 || diff != "" {
		t.Errorf("status %d, tags (-want +got):\n%s", got.status, diff)
	}
}
