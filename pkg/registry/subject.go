package registry

import (
	"encoding/json"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// Subject returns the digest of the manifest that this one is about (image specification, "subject"): it makes a
// signature, a list of contents or a record a referrer of an image. A manifest that stands for itself has none.
func (m Manifest) Subject() (v1.Hash, bool) {
	var read struct {
		Subject *struct {
			Digest v1.Hash `json:"digest"`
		} `json:"subject"`
	}
	if err := json.Unmarshal(m.Raw, &read); err != nil || read.Subject == nil || read.Subject.Digest.Hex == "" {
		return v1.Hash{}, false
	}
	return read.Subject.Digest, true
}

// ArtifactType returns what sort of thing the manifest is, such as "application/vnd.in-toto+json", as lists of referrers
// have it (distribution specification, "Pushing Manifests with Subject"): its own artifactType, else its configuration's
// media type; "" for an index that has no artifactType.
func (m Manifest) ArtifactType() string {
	var read struct {
		ArtifactType string `json:"artifactType"`
		Config       struct {
			MediaType types.MediaType `json:"mediaType"`
		} `json:"config"`
	}
	if err := json.Unmarshal(m.Raw, &read); err != nil {
		return ""
	}
	if read.ArtifactType == "" {
		return string(read.Config.MediaType)
	}
	return read.ArtifactType
}

// asReferrer is the manifest's entry in a list of referrers.
func (m Manifest) asReferrer() v1.Descriptor {
	read, _ := m.content() // what cannot be read has no annotations
	return v1.Descriptor{
		MediaType: m.MediaType, Size: int64(len(m.Raw)), Digest: m.Digest,
		ArtifactType: m.ArtifactType(), Annotations: read.Annotations,
	}
}
