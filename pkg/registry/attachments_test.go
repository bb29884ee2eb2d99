package registry_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// attaching is a repository with an image of two platforms, to which all sorts of things are attached.
type attaching struct {
	t           testing.TB
	in          *registry.Repository
	index       registry.Manifest
	child       registry.Manifest
	bill        registry.Manifest // of the index
	billSig     registry.Manifest // of the bill
	childBill   registry.Manifest
	sig, attest registry.Tagged // of the index, of the child
}

func newAttaching(t testing.TB, in *registry.Repository) *attaching {
	t.Helper()
	a := &attaching{t: t, in: in}
	var index v1.ImageIndex = empty.Index
	for range 2 {
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: randomImage(t)})
	}
	a.index = push(t, in, "1.0", index)
	child, err := in.Manifest(t.Context(), a.index.Children()[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	a.child = child
	a.blob("{}")
	a.bill = a.attach(a.index, "bill")
	a.billSig = a.attach(a.bill, "signature")
	a.childBill = a.attach(a.child, "bill")
	a.sig = a.tag(a.index, ".sig", "one")
	a.attest = a.tag(a.child, ".att", "one")
	return a
}

func (a *attaching) blob(text string) v1.Descriptor {
	a.t.Helper()
	digest, size, err := v1.SHA256(strings.NewReader(text))
	if err != nil {
		a.t.Fatal(err)
	}
	one := v1.Descriptor{MediaType: "application/octet-stream", Digest: digest, Size: size}
	if err := a.in.PutBlob(a.t.Context(), made{layer: []byte(text)}, one); err != nil {
		a.t.Fatal(err)
	}
	return one
}

func (a *attaching) attach(subject registry.Manifest, name string) registry.Manifest {
	a.t.Helper()
	one := about(a.t, subject, name)
	attachTo(a.t, a.in, subject, one)
	return one
}

// attachTo attaches manifests whose subject it is.
func attachTo(t testing.TB, in *registry.Repository, subject registry.Manifest, manifests ...registry.Manifest) {
	t.Helper()
	if err := in.PutReferrers(t.Context(), subject.Digest, manifests); err != nil {
		t.Fatal(err)
	}
}

// tag writes a tag of cosign's with a layer for each text.
func (a *attaching) tag(subject registry.Manifest, ending string, texts ...string) registry.Tagged {
	a.t.Helper()
	var layers []string
	for _, text := range texts {
		layer := a.blob(text)
		layers = append(layers, fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, layer.MediaType, layer.Digest, layer.Size))
	}
	one := registry.Tagged{
		Tag: registry.FallbackTag(subject.Digest) + ending,
		Manifest: manifestOf(a.t, types.OCIManifestSchema1, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s]}`,
			types.OCIManifestSchema1, emptyConfig, strings.Join(layers, ","))),
	}
	if err := a.in.Put(a.t.Context(), one.Manifest, one.Tag); err != nil {
		a.t.Fatal(err)
	}
	return one
}

// attachedIn returns what is attached in a repository, by the digests of what it is attached to.
func attachedIn(t testing.TB, in *registry.Repository, subjects ...registry.Manifest) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for _, subject := range subjects {
		list, err := in.Referrers(t.Context(), subject.Digest)
		if err != nil {
			t.Fatal(err)
		}
		tags, err := in.CosignTags(t.Context(), subject.Digest)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range list {
			all[subject.Digest.Hex] = append(all[subject.Digest.Hex], one.ArtifactType+" "+one.Digest.Hex)
		}
		for _, one := range tags {
			all[subject.Digest.Hex] = append(all[subject.Digest.Hex], one.Tag+" "+one.Manifest.Digest.Hex)
		}
	}
	return all
}

func TestWhatIsAttachedIsCopied(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	a := newAttaching(t, plain(t, source).Repository("a/b"))
	to := plain(t, target).Repository("a/b")
	job := registry.Job{From: a.in, Root: a.index, To: to, Attachments: true}
	var copier registry.Copier
	copied, err := copier.Copy(t.Context(), job)
	if err != nil || copied.Attached != 5 || copied.Left != nil {
		t.Fatalf("%+v, %v; want 5 attached", copied, err)
	}
	subjects := []registry.Manifest{a.index, a.child, a.bill}
	if diff := cmp.Diff(attachedIn(t, a.in, subjects...), attachedIn(t, to, subjects...)); diff != "" {
		t.Errorf("attached (-source +target):\n%s", diff)
	}
	// A registry refuses what is about something that it does not have.
	requests := target.Requests()
	written := func(at string) int {
		return slices.IndexFunc(requests, func(one string) bool { return strings.HasPrefix(one, "PUT /v2/a/b/manifests/"+at) })
	}
	for _, pair := range [][2]string{
		{a.child.Digest.String(), a.index.Digest.String()},
		{a.index.Digest.String(), a.bill.Digest.String()},
		{a.child.Digest.String(), a.childBill.Digest.String()},
		{a.bill.Digest.String(), a.billSig.Digest.String()},
		{a.billSig.Digest.String(), a.sig.Tag},
		{a.childBill.Digest.String(), a.attest.Tag},
	} {
		if first, second := written(pair[0]), written(pair[1]); first < 0 || second < first {
			t.Errorf("%s was written as request %d, %s as %d", pair[0], first, pair[1], second)
		}
	}

	target.Forget()
	again, err := new(registry.Copier).Complete(t.Context(), job)
	if err != nil || again.Attached != 0 {
		t.Errorf("again: %+v, %v", again, err)
	}
	if puts := count(target, "PUT ") + count(target, "POST "); puts > 0 {
		t.Errorf("again: %d were written: %v", puts, target.Requests())
	}
	more := a.attach(a.child, "scan")
	again, err = new(registry.Copier).Complete(t.Context(), job)
	if err != nil || again.Attached != 1 {
		t.Errorf("with one more: %+v, %v", again, err)
	}
	if _, err := to.Manifest(t.Context(), more.Digest); err != nil {
		t.Error(err)
	}
}

func TestATargetsOwnSignaturesAreKept(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description    string
		source, target []string // signatures
		replaced       bool
	}{
		{"one more in the source", []string{"one", "two"}, []string{"one"}, true},
		{"one more in the target", []string{"one"}, []string{"one", "two"}, false},
		{"others", []string{"one"}, []string{"two"}, false},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			source, target := faultyregistry.Start(t), faultyregistry.Start(t)
			from := &attaching{t: t, in: plain(t, source).Repository("a/b")}
			to := &attaching{t: t, in: plain(t, target).Repository("a/b")}
			image := randomImage(t)
			pushed := push(t, from.in, "1.0", image)
			push(t, to.in, "1.0", image)
			from.blob("{}")
			to.blob("{}")
			want := from.tag(pushed, ".sig", row.source...)
			held := to.tag(pushed, ".sig", row.target...)
			copied, err := new(registry.Copier).Complete(t.Context(), registry.Job{From: from.in, Root: pushed, To: to.in, Attachments: true})
			if err != nil {
				t.Fatal(err)
			}
			now, err := to.in.Resolve(t.Context(), want.Tag)
			if err != nil {
				t.Fatal(err)
			}
			if row.replaced {
				if now.Digest != want.Manifest.Digest || copied.Left != nil {
					t.Errorf("the tag holds %s, told: %v", now.Digest, copied.Left)
				}
				return
			}
			if now.Digest != held.Manifest.Digest || len(copied.Left) != 1 || !strings.Contains(copied.Left[0], want.Tag) {
				t.Errorf("the tag holds %s, told: %v", now.Digest, copied.Left)
			}
		})
	}
}

func TestWhatIsListedAndNotThereIsNotAttached(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	a := newAttaching(t, plain(t, source).Repository("a/b"))
	to := plain(t, target).Repository("a/b")
	gone := a.bill.Digest.String()
	source.Break("GET /manifests/"+gone, -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
	copied, err := new(registry.Copier).Copy(t.Context(), registry.Job{From: a.in, Root: a.index, To: to, Attachments: true})
	if err != nil || copied.Attached != 3 { // without the bill and its signature
		t.Errorf("%+v, %v", copied, err)
	}
	source.Break("GET /manifests/"+gone, -1, faultyregistry.Status(403, "DENIED"))
	_, err = new(registry.Copier).Copy(t.Context(), registry.Job{From: a.in, Root: a.index, To: to, Attachments: true})
	if fault.KindOf(err) != fault.Denied || fault.SideOf(err) == "" {
		t.Errorf("what cannot be read is left out: %v", err)
	}
}
