package signature

import (
	"encoding/hex"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// checkBundle tells what a sigstore bundle's statement says of the image, when it is signed by whom the policy and the
// material want, and when the image is one of its subjects.
func checkBundle(
	content []byte, image v1.Hash, material root.TrustedMaterial, who verify.PolicyOption, options ...verify.VerifierOption,
) (predicateType string, err error) {
	var read bundle.Bundle
	if err := read.UnmarshalJSON(content); err != nil {
		return "", fmt.Errorf("reading the bundle: %w", err)
	}
	verifier, err := verify.NewVerifier(material, append(options, verify.WithoutStatementPredicate())...)
	if err != nil {
		return "", err
	}
	digest, err := hex.DecodeString(image.Hex)
	if err != nil {
		return "", err
	}
	result, err := verifier.Verify(&read, verify.NewPolicy(verify.WithArtifactDigest(image.Algorithm, digest), who))
	switch {
	case err != nil:
		return "", err
	case result.Statement == nil:
		return "", errors.New("it holds no statement about an image")
	}
	return result.Statement.GetPredicateType(), nil
}
