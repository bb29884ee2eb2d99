package record

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// Attestation is a statement about images of a type that others have defined, such as SLSA's provenance.
type Attestation struct {
	Subjects  []Subject
	Type      string // in-toto's predicateType
	Predicate any    // as encoding/json writes it
	Time      time.Time
}

// Subject is an image that an attestation is about.
type Subject struct {
	Name   string
	Digest v1.Hash
}

// What others look for: an unsigned statement by in-toto's own type, as BuildKit writes it, and a signed one by that of
// sigstore's bundle (sigstore/protobuf-specs, "bundle"), as cosign does.
const (
	statementArtifact = string(statementLayer)
	bundleArtifact    = "application/vnd.dev.sigstore.bundle.v0.3+json"
	contentAnnotation = "dev.sigstore.bundle.content"
	typeAnnotation    = "dev.sigstore.bundle.predicateType"
)

// largestAttestation is what a list of some ten thousand packages has. A registry takes more; who reads it may not.
const largestAttestation = 8 << 20

// bundle is sigstore's of version 0.3, of a statement that a key signed, without a log.
type bundle struct {
	MediaType string `json:"mediaType"`
	Material  struct {
		PublicKey struct {
			Hint string `json:"hint"`
		} `json:"publicKey"`
	} `json:"verificationMaterial"`
	Envelope envelope `json:"dsseEnvelope"`
}

// Artifact makes the attestation's manifest and blobs, attached to the image as its registry holds it. With a key the
// attestation is signed; key may be nil.
func (a Attestation) Artifact(image registry.Manifest, key *Key) (*Artifact, error) {
	text, err := a.statement()
	if err != nil {
		return nil, err
	}
	annotations := map[string]string{
		createdAnnotation:   whole(a.Time).Format(time.RFC3339),
		predicateAnnotation: a.Type,
	}
	if key == nil {
		return newArtifact(image, statementArtifact, statementLayer, text, annotations)
	}
	signed := bundle{MediaType: bundleArtifact}
	if signed.Material.PublicKey.Hint, err = hint(key); err != nil {
		return nil, err
	}
	if signed.Envelope, err = sealed(text, key); err != nil {
		return nil, err
	}
	signed.Envelope.Signatures[0].KeyID = "" // which readers skip, unless it is spelled as they spell it
	content, err := json.Marshal(signed)
	if err != nil {
		return nil, fault.New(fault.Unexpected, "making the attestation: %w", err)
	}
	annotations[contentAnnotation], annotations[typeAnnotation] = "dsse-envelope", a.Type
	return newArtifact(image, bundleArtifact, types.MediaType(bundleArtifact), content, annotations)
}

// hint is a key's identity as cosign writes it: the same sum in base64.
func hint(key *Key) (string, error) {
	sum, err := hex.DecodeString(key.ID())
	if err != nil {
		return "", fault.New(fault.Unexpected, "making the attestation: %w", err)
	}
	return base64.StdEncoding.EncodeToString(sum), nil
}

func (a Attestation) statement() ([]byte, error) {
	made := statement{Type: statementType, PredicateType: a.Type, Predicate: a.Predicate}
	for _, one := range a.Subjects {
		made.Subject = append(made.Subject, subject{Name: one.Name, Digest: map[string]string{one.Digest.Algorithm: one.Digest.Hex}})
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(made); err != nil {
		return nil, fault.New(fault.Unexpected, "making the attestation: %w", err)
	}
	if text.Len() > largestAttestation {
		return nil, fault.New(fault.Refused, "making the attestation %q: it has %d bytes, and 8 MiB are the most", a.Type, text.Len())
	}
	return bytes.TrimSuffix(text.Bytes(), []byte("\n")), nil
}
