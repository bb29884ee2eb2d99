package signature

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// The annotations of a payload's layer (cosign, specs/SIGNATURE_SPEC.md).
const (
	signatureAnnotation   = "dev.cosignproject.cosign/signature"
	certificateAnnotation = "dev.sigstore.cosign/certificate"
	logAnnotation         = "dev.sigstore.cosign/bundle"
	timestampAnnotation   = "dev.sigstore.cosign/rfc3161timestamp"
)

// signPredicate is what a bundle's statement says of an image that is signed, in cosign's words.
const signPredicate = "https://sigstore.dev/cosign/sign/v1"

// checkPayload tells whether a payload of simple signing, whose signature was found good, is about this image
// (containers/image, docs/containers-signature.5.md).
func checkPayload(content []byte, image v1.Hash) error {
	var payload struct {
		Critical struct {
			Type  string `json:"type"`
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			} `json:"image"`
		} `json:"critical"`
	}
	if err := json.Unmarshal(content, &payload); err != nil {
		return errors.New("it is signed, and is no payload of simple signing")
	}
	switch {
	case payload.Critical.Type != "cosign container image signature":
		return fmt.Errorf("it is of the type %.80q, not a cosign container image signature", payload.Critical.Type)
	case payload.Critical.Image.Digest != image.String():
		return fmt.Errorf("it is of another image, %.80q", payload.Critical.Image.Digest)
	}
	return nil
}

// signatureOf returns the signature beside a payload.
func signatureOf(layer v1.Descriptor) ([]byte, error) {
	signature, err := base64.StdEncoding.DecodeString(layer.Annotations[signatureAnnotation])
	if err != nil || len(signature) == 0 {
		return nil, errors.New("its signature is missing, or not in base64")
	}
	return signature, nil
}
