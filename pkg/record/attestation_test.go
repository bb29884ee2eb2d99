package record_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"io"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"dockline/pkg/fault"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

const provenance = "https://slsa.dev/provenance/v1"

func attestation(predicate any, subjects ...v1.Hash) record.Attestation {
	made := record.Attestation{Type: provenance, Predicate: predicate, Time: noon}
	for _, one := range subjects {
		made.Subjects = append(made.Subjects, record.Subject{Name: hello, Digest: one})
	}
	return made
}

func image(digest v1.Hash) registry.Manifest {
	return registry.Manifest{MediaType: types.OCIImageIndex, Digest: digest, Raw: []byte("{}")}
}

// contentOf returns the artifact's manifest, and what is in its layer.
func contentOf(t *testing.T, artifact *record.Artifact) (manifest struct {
	ArtifactType string
	Layers       []v1.Descriptor
	Subject      v1.Descriptor
	Annotations  map[string]string
}, content []byte,
) {
	t.Helper()
	if err := json.Unmarshal(artifact.Root().Raw, &manifest); err != nil {
		t.Fatal(err)
	}
	return manifest, must(io.ReadAll(must(artifact.Blob(t.Context(), manifest.Layers[0]))))
}

func TestAnUnsignedAttestationIsAStatement(t *testing.T) {
	t.Parallel()
	artifact := must(attestation(map[string]string{"a": "<b>"}, digestOf("a"), digestOf("b")).Artifact(image(digestOf("a")), nil))
	manifest, content := contentOf(t, artifact)
	const statement = "application/vnd.in-toto+json"
	if manifest.ArtifactType != statement || manifest.Layers[0].MediaType != statement || manifest.Subject.Digest != digestOf("a") ||
		manifest.Annotations["in-toto.io/predicate-type"] != provenance {
		t.Errorf("manifest is %+v", manifest)
	}
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"` + hello + `","digest":{"sha256":"` + digestOf("a").Hex +
		`"}},{"name":"` + hello + `","digest":{"sha256":"` + digestOf("b").Hex + `"}}],"predicateType":"` + provenance + `","predicate":{"a":"<b>"}}`
	if string(content) != want {
		t.Errorf("statement is %s, want %s", content, want)
	}
}

// timeless is a public key as sigstore-go wants it.
type timeless struct{ signature.Verifier }

func (timeless) ValidAtTime(time.Time) bool { return true }

// TestSigstoreReadsASignedAttestation by the library that cosign reads it by.
func TestSigstoreReadsASignedAttestation(t *testing.T) {
	t.Parallel()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	key := must(record.ReadKey(pkcs8(private), ""))
	artifact := must(attestation(map[string]string{"a": "b"}, digestOf("a"), digestOf("b")).Artifact(image(digestOf("a")), key))
	manifest, content := contentOf(t, artifact)
	const media = "application/vnd.dev.sigstore.bundle.v0.3+json"
	if manifest.ArtifactType != media || manifest.Layers[0].MediaType != media ||
		manifest.Annotations["dev.sigstore.bundle.predicateType"] != provenance {
		t.Errorf("manifest is %+v", manifest)
	}
	check := func(public crypto.PublicKey, about v1.Hash) (string, error) {
		var read bundle.Bundle
		if err := read.UnmarshalJSON(content); err != nil {
			t.Fatal(err)
		}
		trusted := must(signature.LoadVerifier(public, crypto.SHA256))
		material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return timeless{trusted}, nil })
		verifier := must(verify.NewVerifier(material, verify.WithNoObserverTimestamps()))
		result, err := verifier.Verify(&read, verify.NewPolicy(verify.WithArtifactDigest("sha256", must(hex.DecodeString(about.Hex))), verify.WithKey()))
		if err != nil {
			return "", err
		}
		return result.Statement.GetPredicateType(), nil
	}
	for _, about := range []v1.Hash{digestOf("a"), digestOf("b")} {
		if got, err := check(private.Public(), about); err != nil || got != provenance {
			t.Errorf("%s: %q (%v)", about, got, err)
		}
	}
	if _, err := check(private.Public(), digestOf("c")); err == nil {
		t.Error("it is good for another image")
	}
	if _, err := check(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public(), digestOf("a")); err == nil {
		t.Error("it is good with another key")
	}
}

func TestAnAttestationThatIsTooLarge(t *testing.T) {
	t.Parallel()
	if _, err := attestation(strings.Repeat("x", 8<<20), digestOf("a")).Artifact(image(digestOf("a")), nil); fault.KindOf(err) != fault.Refused {
		t.Errorf("error is %v", err)
	}
}
