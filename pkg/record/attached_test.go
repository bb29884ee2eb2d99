package record_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// shelf is a repository that holds an image.
type shelf struct {
	*registry.Repository
	server *faultyregistry.Registry
	image  registry.Manifest
}

// shelves are one whose registry lists referrers, and one whose registry does not.
func shelves(t *testing.T) map[string]shelf {
	t.Helper()
	all := map[string]shelf{}
	for name, start := range map[string]func(testing.TB) *faultyregistry.Registry{
		"lists referrers": faultyregistry.StartListing, "does not list referrers": faultyregistry.Start,
	} {
		server := start(t)
		opened := must(registry.Open(registry.Config{Address: server.Host(), Insecure: true, Patience: registry.Patience{
			Attempts: 2, First: time.Millisecond, Longest: time.Millisecond, LongestAsked: time.Second, Silence: time.Second,
		}}))
		t.Cleanup(opened.Close)
		s := shelf{Repository: opened.Repository(hello), server: server}
		raw := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
		hash, _, _ := v1.SHA256(strings.NewReader(string(raw)))
		s.image = registry.Manifest{MediaType: types.OCIImageIndex, Digest: hash, Raw: raw}
		if err := s.Put(t.Context(), s.image, "1.0"); err != nil {
			t.Fatal(err)
		}
		all[name] = s
	}
	return all
}

func (s shelf) attach(t *testing.T, r record.Record, key *record.Key) *record.Artifact {
	t.Helper()
	made := must(r.Artifact(s.image, key))
	if err := made.Upload(t.Context(), s.Repository); err != nil {
		t.Fatal(err)
	}
	if err := made.Attach(t.Context(), s.Repository); err != nil {
		t.Fatal(err)
	}
	return made
}

func TestWhatIsAttachedIsFound(t *testing.T) {
	t.Parallel()
	for name, s := range shelves(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key := newKey(t)
			first, second := promoted(s.image.Digest, record.Copied, noon), promoted(s.image.Digest, record.Forced, noon.Add(time.Hour))
			verdict := verification(s.image.Digest, record.Right, noon)
			s.attach(t, second, key)
			s.attach(t, first, nil)
			s.attach(t, verdict, key)
			promotions, err := record.Promotions(t.Context(), s, s.image.Digest, key.Public())
			want := []record.Signed{{Record: first}, {Record: second, Key: key.ID()}}
			if diff := cmp.Diff(want, promotions); diff != "" || err != nil {
				t.Errorf("promotions: %v (-want +got):\n%s", err, diff)
			}
			verifications, err := record.Verifications(t.Context(), s, s.image.Digest, key.Public())
			if diff := cmp.Diff([]record.Signed{{Record: verdict, Key: key.ID()}}, verifications); diff != "" || err != nil {
				t.Errorf("verifications: %v (-want +got):\n%s", err, diff)
			}
			none, err := record.Promotions(t.Context(), s, digestOf("c"), key.Public())
			if len(none) > 0 || err != nil {
				t.Errorf("of another image: %v, %v", none, err)
			}
		})
	}
}

func TestPromoted(t *testing.T) {
	t.Parallel()
	for name, s := range shelves(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			key, to := newKey(t), promoted(s.image.Digest, record.Copied, noon).Promotion.To
			ask := func(to string, keys record.Keys) bool {
				return must(record.Promoted(t.Context(), s, s.image.Digest, to, keys))
			}
			if ask(to, nil) {
				t.Error("there is no record, and one was found")
			}
			unsigned := s.attach(t, promoted(s.image.Digest, record.Copied, noon), nil)
			if !ask(to, nil) || ask(to, key.Public()) || ask(to+"x", nil) {
				t.Error("an unsigned record is not found, or is found where a signed one, or one of another tag, is wanted")
			}
			s.attach(t, promoted(s.image.Digest, record.Copied, noon), key)
			s.server.Break("GET /manifests/"+unsigned.Root().Digest.String(), -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
			if !ask(to, key.Public()) || ask(to, newKey(t).Public()) {
				t.Error("the signed record is not found beside one that is gone, or is taken for somebody else's")
			}
		})
	}
}

// crowd lists more referrers than anyone has.
type crowd struct{ record.Place }

func (c crowd) Referrers(context.Context, v1.Hash) ([]v1.Descriptor, error) {
	list := make([]v1.Descriptor, 501)
	for i := range list {
		list[i] = v1.Descriptor{Digest: digestOf("c"), ArtifactType: record.VerificationArtifact}
	}
	return list, nil
}

func TestTooManyRecordsAreNotRead(t *testing.T) {
	t.Parallel()
	s := shelves(t)["lists referrers"]
	_, err := record.Verifications(t.Context(), crowd{s}, s.image.Digest, nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "there are 501") {
		t.Errorf("501 records: %v", err)
	}
}

// TestWhatIsSignedAndCannotBeUnderstood must not be passed over: it may say that all is wrong.
func TestWhatIsSignedAndCannotBeUnderstood(t *testing.T) {
	t.Parallel()
	key := newKey(t)
	for name, s := range shelves(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text := string(must(verification(s.image.Digest, record.Right, noon).Statement()))
			later := strings.Replace(text, `"verdict":"right"`, `"verdict":"withdrawn"`, 1)
			made := record.Hold(t, verification(s.image.Digest, record.Right, noon), s.image, record.Seal(t, []byte(later), key))
			if err := made.Upload(t.Context(), s.Repository); err != nil {
				t.Fatal(err)
			}
			if err := made.Attach(t.Context(), s.Repository); err != nil {
				t.Fatal(err)
			}
			_, err := record.Verifications(t.Context(), s, s.image.Digest, key.Public())
			if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), `"withdrawn" is no verdict`) {
				t.Errorf("with its key: %v", err)
			}
			left, err := record.Verifications(t.Context(), s, s.image.Digest, newKey(t).Public())
			if len(left) > 0 || err != nil {
				t.Errorf("with another: %v, %v", left, err)
			}
		})
	}
}
