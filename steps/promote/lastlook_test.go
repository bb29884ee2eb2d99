package promote

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
)

// after has a registry do something, and then answer with a fault.
func after(do func(), fault faultyregistry.Fault) faultyregistry.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		do()
		fault(w, r, next)
	}
}

// TestAWriteThatIsPutOffLooksAgain has somebody else write the tag while the registry wants to be left alone: the write
// that follows must not replace what nobody has looked at.
func TestAWriteThatIsPutOffLooksAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		tag         string // that is written
		variables   func(held string) []string
		held        bool
		last        string
	}{
		{"a new tag", "1.0", func(string) []string { return nil }, false, "somebody else wrote the tag meanwhile"},
		{"one that is replaced", "1.0", func(held string) []string { return []string{"FORCE_REPLACES", held} }, true, "somebody else wrote the tag meanwhile"},
		{"a floating tag", "latest", func(string) []string { return []string{"FLOATING_TAGS", "latest"} }, false, "somebody else has written or removed it meanwhile"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			held, theirs := "", ""
			if row.held {
				held = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
			}
			other := twoPlatforms(t, "other")
			s.target.Break("PUT /manifests/"+row.tag, 1, after(func() { theirs = push(t, s.target, hello+":"+row.tag, other) },
				faultyregistry.RetryAfter(429, 0)))
			if row.held {
				s.target.Break("PUT /manifests/1.0-replaced", -1, faultyregistry.Then(func() {}))
			}
			got := promote(t, s.with(row.variables(held)...))
			if got.status != 3 || !strings.Contains(got.last, row.last) || len(got.results) > 0 {
				t.Errorf("status %d, results %v, last line %q; want 3 and %q", got.status, got.results, got.last, row.last)
			}
			if now := holds(t, s.target, hello+":"+row.tag); now != theirs || theirs == "" {
				t.Errorf("the tag holds %q, want what the other wrote, %q", now, theirs)
			}
		})
	}
}

// TestABackupTagThatIsWrittenMeanwhile has its write put off, and another image gets there first: it is never moved.
func TestABackupTagThatIsWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held, theirs := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld")), ""
	_, backup, _ := strings.Cut(backupOf(held), ":")
	other := twoPlatforms(t, "other")
	s.target.Break("PUT /manifests/"+backup, 1, after(func() { theirs = push(t, s.target, hello+":"+backup, other) },
		faultyregistry.RetryAfter(503, 0)))
	got := promote(t, s.with("FORCE_REPLACES", held))
	if got.status != 3 || !strings.Contains(got.last, "is never moved") {
		t.Errorf("status %d, last line %q", got.status, got.last)
	}
	if holds(t, s.target, hello+":1.0") != held || holds(t, s.target, hello+":"+backup) != theirs {
		t.Error("the tag or its backup was moved")
	}
}

// TestATagThatWasRemovedMeanwhile is not made again: somebody may have withdrawn the image.
func TestATagThatWasRemovedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	tag := must(name.ParseReference(s.target.Host()+"/"+hello+":1.0", name.Insecure))
	_, backup, _ := strings.Cut(backupOf(held), ":")
	s.target.Break("PUT /manifests/"+backup, 1, faultyregistry.Then(func() {
		if err := remote.Delete(tag); err != nil {
			t.Error(err)
		}
	}))
	got := promote(t, s.with("FORCE_REPLACES", held))
	if got.status != 3 || !strings.Contains(got.last, "somebody else removed the tag meanwhile") || holds(t, s.target, hello+":1.0") != "" {
		t.Errorf("status %d, last line %q, the tag holds %q", got.status, got.last, holds(t, s.target, hello+":1.0"))
	}
}

// TestASetLooksAtWhatWasThereToo has another job replace an image of the set that was there already, while the others
// are copied.
func TestASetLooksAtWhatWasThereToo(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, images := newSet(t, s, 2)
	first, _, _ := strings.Cut(images, ",")
	if got := promote(t, s.with("IMAGE", "", "IMAGES", first)); got.status != 0 {
		t.Fatal(got.log)
	}
	other := must(random.Image(100, 1))
	theirs := ""
	s.target.Break("PUT "+service(1)+"/manifests/sha256:", 1, faultyregistry.Then(func() {
		theirs = pushImage(t, s.target, service(0)+":1.0", other)
	}))
	got := promote(t, s.with("IMAGE", "", "IMAGES", images))
	if got.status != 3 || !strings.Contains(got.last, service(0)+":1.0") || !strings.Contains(got.last, theirs) {
		t.Errorf("status %d, last line %q; want 3 and %s", got.status, got.last, theirs)
	}
	if tags := tagsOf(t, s.target, 2); tags[0] != theirs || tags[1] != "" {
		t.Errorf("the tags hold %v; want the other's image, and nothing", tags)
	}
}
