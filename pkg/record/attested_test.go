package record_test

import (
	"net/http"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/record"
)

func (s shelf) attachAttestation(t *testing.T, a record.Attestation, key *record.Key) {
	t.Helper()
	made := must(a.Artifact(s.image, key))
	if err := made.Upload(t.Context(), s.Repository); err != nil {
		t.Fatal(err)
	}
	if err := made.Attach(t.Context(), s.Repository); err != nil {
		t.Fatal(err)
	}
}

func TestAttested(t *testing.T) {
	t.Parallel()
	key, other := newKey(t), newKey(t)
	for name, s := range shelves(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			about := func(digest v1.Hash, predicate, kind string) record.Attestation {
				a := attestation(predicate, digest)
				a.Type = kind
				return a
			}
			s.attach(t, verification(s.image.Digest, record.Right, noon), key)
			s.attachAttestation(t, about(s.image.Digest, "unsigned", provenance), nil)
			s.attachAttestation(t, about(s.image.Digest, "by another", provenance), other)
			s.attachAttestation(t, about(digestOf("a"), "of another image", provenance), key)
			s.attachAttestation(t, about(s.image.Digest, "of another type", "https://spdx.dev/Document"), key)
			if got, err := record.Attested(t.Context(), s, s.image.Digest, provenance, key.Public()); err != nil || len(got) != 0 {
				t.Errorf("%s (%v)", got, err)
			}
			s.attachAttestation(t, about(s.image.Digest, "right", provenance), key)
			got, err := record.Attested(t.Context(), s, s.image.Digest, provenance, append(newKey(t).Public(), key.Public()...))
			if err != nil || len(got) != 1 || string(got[0]) != `"right"` {
				t.Errorf("%s (%v)", got, err)
			}
			if got, err := record.Attested(t.Context(), s, s.image.Digest, provenance, nil); err != nil || len(got) != 0 {
				t.Errorf("no key is known, and there is %s (%v)", got, err)
			}
			s.server.Break("GET /blobs/", -1, faultyregistry.Status(http.StatusForbidden, "DENIED"))
			if got, err := record.Attested(t.Context(), s, s.image.Digest, provenance, key.Public()); fault.KindOf(err) != fault.Denied {
				t.Errorf("what cannot be read says %s (%v)", got, err)
			}
		})
	}
}
