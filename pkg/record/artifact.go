package record

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// The artifact types by which a registry tells records from other referrers without anyone opening them.
const (
	PromotionArtifact    = "application/vnd.dockline.promotion.v1+json"
	VerificationArtifact = "application/vnd.dockline.verification.v1+json"
)

// IsPromotion tells whether a manifest is, by its own word, a record of a promotion. Such a one tells of the registry
// that it is in, and is nothing to be copied into another: there it would be believed to be of that one's making.
func IsPromotion(manifest registry.Manifest) bool {
	return manifest.ArtifactType() == PromotionArtifact
}

// Annotations of a record's manifest, which a list of referrers repeats. Nobody signs them: they save a look into a
// record, and prove nothing.
const (
	createdAnnotation   = "org.opencontainers.image.created"
	predicateAnnotation = "in-toto.io/predicate-type"
	toAnnotation        = "dockline.example.com/promoted-to"
)

const (
	statementLayer types.MediaType = "application/vnd.in-toto+json"
	envelopeLayer  types.MediaType = "application/vnd.dsse.envelope.v1+json"
	emptyConfig    types.MediaType = "application/vnd.oci.empty.v1+json"
)

// Artifact is a record as a registry holds it: a manifest that refers to the image, with one layer. It is a
// registry.Source for the copy engine.
type Artifact struct {
	manifest registry.Manifest
	subject  v1.Hash
	blobs    map[v1.Hash]content
	order    []v1.Descriptor
}

type content struct {
	descriptor v1.Descriptor
	bytes      []byte
}

// manifest is the image specification's "Image Manifest", in the form of its "Guidelines for Artifact Usage".
type manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        v1.Descriptor     `json:"config"`
	Layers        []v1.Descriptor   `json:"layers"`
	Subject       *v1.Descriptor    `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// Artifact makes the record's manifest and blobs. The subject is the image that the record is about, as its registry
// holds it. With a key the record is signed; key may be nil.
func (r Record) Artifact(subject registry.Manifest, key *Key) (*Artifact, error) {
	if subject.Digest != r.Digest {
		return nil, fault.New(fault.Unexpected, "making the record: it is about %q, not about %q", r.Digest, subject.Digest)
	}
	text, err := r.Statement()
	if err != nil {
		return nil, err
	}
	layerType := statementLayer
	if key != nil {
		if text, err = seal(text, key); err != nil {
			return nil, err
		}
		layerType = envelopeLayer
	}
	return r.artifact(subject, layerType, text)
}

// artifact makes it of what is in its layer.
func (r Record) artifact(subject registry.Manifest, layerType types.MediaType, text []byte) (*Artifact, error) {
	made := &Artifact{subject: subject.Digest, blobs: map[v1.Hash]content{}}
	config, layer := made.add(emptyConfig, []byte("{}")), made.add(layerType, text)
	annotations := map[string]string{
		createdAnnotation:   whole(r.Time()).Format(time.RFC3339),
		predicateAnnotation: r.Type(),
	}
	if r.Promotion != nil {
		annotations[toAnnotation] = r.Promotion.To
	}
	raw, err := json.Marshal(manifest{
		SchemaVersion: 2,
		MediaType:     types.OCIManifestSchema1,
		ArtifactType:  artifactTypes[r.Type()],
		Config:        config,
		Layers:        []v1.Descriptor{layer},
		Subject:       &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: int64(len(subject.Raw))},
		Annotations:   annotations,
	})
	if err != nil {
		return nil, fault.New(fault.Unexpected, "making the record: %w", err)
	}
	made.manifest = registry.Manifest{MediaType: types.OCIManifestSchema1, Digest: hashOf(raw), Raw: raw}
	return made, nil
}

var artifactTypes = map[string]string{PromotionType: PromotionArtifact, VerificationType: VerificationArtifact}

func (a *Artifact) add(mediaType types.MediaType, bytes []byte) v1.Descriptor {
	descriptor := v1.Descriptor{MediaType: mediaType, Digest: hashOf(bytes), Size: int64(len(bytes))}
	a.blobs[descriptor.Digest] = content{descriptor, bytes}
	a.order = append(a.order, descriptor)
	return descriptor
}

// Manifest implements registry.Source.
func (a *Artifact) Manifest(_ context.Context, digest v1.Hash) (registry.Manifest, error) {
	if digest != a.manifest.Digest {
		return registry.Manifest{}, fault.New(fault.NotFound, "reading manifest %q of the record: it is not there", digest)
	}
	return a.manifest, nil
}

// Blob implements registry.Source.
func (a *Artifact) Blob(_ context.Context, blob v1.Descriptor) (io.ReadCloser, error) {
	found, ok := a.blobs[blob.Digest]
	if !ok {
		return nil, fault.New(fault.NotFound, "reading blob %q of the record: it is not there", blob.Digest)
	}
	return io.NopCloser(bytes.NewReader(found.bytes)), nil
}

func hashOf(content []byte) v1.Hash {
	hash, _, _ := v1.SHA256(bytes.NewReader(content)) // the reader has no errors
	return hash
}
