package registry_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// isNote is what the tests leave in the source.
func isNote(one registry.Manifest) bool { return one.ArtifactType() == "application/vnd.example.note" }

// leadingTo makes an index of one manifest, about the subject if there is one.
func leadingTo(t testing.TB, child registry.Manifest, subject *registry.Manifest) registry.Manifest {
	t.Helper()
	about := ""
	if subject != nil {
		about = fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":%d}`, subject.MediaType, subject.Digest, len(subject.Raw))
	}
	return manifestOf(t, types.OCIImageIndex, fmt.Sprintf(
		`{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]%s}`,
		types.OCIImageIndex, child.MediaType, child.Digest, len(child.Raw), about))
}

// digestsIn is attachedIn without the types: go-containerregistry's registry lists the configuration's.
func digestsIn(t testing.TB, in *registry.Repository, subjects ...registry.Manifest) map[string][]string {
	t.Helper()
	all := attachedIn(t, in, subjects...)
	for _, list := range all {
		for i, one := range list {
			list[i] = one[strings.LastIndex(one, " ")+1:]
		}
	}
	return all
}

// TestWhatStaysIsNotCopied: a note is left in the source however it hangs on the image, and what hangs on it.
func TestWhatStaysIsNotCopied(t *testing.T) {
	t.Parallel()
	for _, start := range []func(testing.TB) *faultyregistry.Registry{faultyregistry.Start, faultyregistry.StartListing} {
		source, target := start(t), faultyregistry.StartListing(t)
		a := newAttaching(t, plain(t, source).Repository("a/b"))
		to := plain(t, target).Repository("a/b")
		before := digestsIn(t, a.in, a.index, a.child, a.bill)
		note := a.attach(a.index, "note")
		a.attach(note, "signature")
		a.attach(a.bill, "note")
		// An index that leads to one: a registry that lists referrers lists its children as well.
		hidden := about(t, a.child, "note")
		if err := a.in.Put(t.Context(), hidden, ""); err != nil {
			t.Fatal(err)
		}
		index := leadingTo(t, hidden, &a.index)
		attachTo(t, a.in, a.index, index)
		// So does a tag of cosign's.
		tagged := about(t, a.index, "note")
		if err := a.in.Put(t.Context(), tagged, registry.FallbackTag(a.index.Digest)+".sbom"); err != nil {
			t.Fatal(err)
		}
		job := registry.Job{From: a.in, Root: a.index, To: to, Attachments: true, Stays: isNote}
		copied, err := new(registry.Copier).Copy(t.Context(), job)
		if err != nil || copied.Attached != 5 {
			t.Fatalf("%+v, %v; want 5 attached", copied, err)
		}
		if diff := cmp.Diff(before, digestsIn(t, to, a.index, a.child, a.bill)); diff != "" {
			t.Errorf("attached (-source's +target's):\n%s", diff)
		}
		told := strings.Join(copied.Left, "\n")
		if len(copied.Left) != 2 || !strings.Contains(told, index.Digest.String()) || !strings.Contains(told, ".sbom") {
			t.Errorf("told: %q", copied.Left)
		}
		for _, one := range []registry.Manifest{note, hidden, index, tagged} {
			if _, present, err := to.Lookup(t.Context(), one.Digest.String()); present || err != nil {
				t.Errorf("%s is in the target: %v", one.Raw, err)
			}
		}
	}
}

// TestAListDoesNotDecideWhatStays: whoever writes the list of the fallback tag writes what it says of a manifest's type.
func TestAListDoesNotDecideWhatStays(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	in, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	image := push(t, in, "1.0", randomImage(t))
	(&attaching{t: t, in: in}).blob("{}")
	note := about(t, image, "note")
	if err := in.Put(t.Context(), note, ""); err != nil {
		t.Fatal(err)
	}
	lie := v1.Descriptor{MediaType: note.MediaType, Digest: note.Digest, Size: int64(len(note.Raw)), ArtifactType: "application/vnd.example.bill"}
	if err := in.Put(t.Context(), manifestOf(t, types.OCIImageIndex, indexOf(lie)), registry.FallbackTag(image.Digest)); err != nil {
		t.Fatal(err)
	}
	for _, do := range []func() (registry.Copied, error){
		func() (registry.Copied, error) {
			return new(registry.Copier).Copy(t.Context(), registry.Job{From: in, Root: image, To: to, Attachments: true, Stays: isNote})
		},
		func() (registry.Copied, error) {
			return new(registry.Copier).Complete(t.Context(), registry.Job{From: in, Root: image, To: to, Attachments: true, Stays: isNote})
		},
	} {
		if copied, err := do(); err != nil || copied.Attached != 0 {
			t.Errorf("%+v, %v", copied, err)
		}
		if _, present, err := to.Lookup(t.Context(), note.Digest.String()); present || err != nil {
			t.Errorf("the note is in the target: %v", err)
		}
	}
}

// TestAnImageThatLeadsToWhatStaysIsRefused: its child would be about another image in the target.
func TestAnImageThatLeadsToWhatStaysIsRefused(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.StartListing(t)
	in, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	other := push(t, to, "0.9", randomImage(t))
	(&attaching{t: t, in: in}).blob("{}")
	note := about(t, other, "note")
	image := leadingTo(t, note, nil)
	for _, one := range []registry.Manifest{note, image} {
		if err := in.Put(t.Context(), one, ""); err != nil {
			t.Fatal(err)
		}
	}
	target.Forget()
	for _, root := range []registry.Manifest{note, image} {
		_, err := new(registry.Copier).Copy(t.Context(), registry.Job{From: in, Root: root, To: to, Attachments: true, Stays: isNote})
		if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), note.Digest.String()) {
			t.Errorf("%v", err)
		}
	}
	if wrote := count(target, "PUT ") + count(target, "POST "); wrote > 0 {
		t.Errorf("%d were written", wrote)
	}
}
