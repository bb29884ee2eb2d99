package signature

import (
	"bytes"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	bundlespec "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonspec "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	logspec "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Keyless says whom the certificate of a signature must name, and who vouches for that. Of each pair one is given; a
// pattern is a regular expression (RE2) for the whole of it.
type Keyless struct {
	Identity, IdentityPattern string // an e-mail address, or the URI of a workload such as a CI job's
	Issuer, IssuerPattern     string // of the identity's token: "https://gitlab.example.com"
	// TrustedRoot is sigstore's trusted_root.json: the authorities whose certificates count, and the logs and timestamp
	// authorities that tell when they were used.
	TrustedRoot []byte
}

// authority is a certificate authority that names whom we want.
type authority struct {
	wanted   string
	material *root.TrustedRoot
	identity verify.PolicyOption
	options  []verify.VerifierOption
}

func newAuthority(wanted Keyless) (*authority, error) {
	identity, err := whole(wanted.Identity, wanted.IdentityPattern, "identity")
	if err != nil {
		return nil, err
	}
	issuer, err := whole(wanted.Issuer, wanted.IssuerPattern, "issuer")
	if err != nil {
		return nil, err
	}
	certificate, err := verify.NewShortCertificateIdentity(wanted.Issuer, issuer, wanted.Identity, identity)
	if err != nil {
		return nil, err
	}
	if len(wanted.TrustedRoot) == 0 {
		return nil, errors.New("the trusted root is missing")
	}
	material, err := root.NewTrustedRootFromJSON(wanted.TrustedRoot)
	if err != nil {
		return nil, fmt.Errorf("reading the trusted root: %w", err)
	}
	options, err := demands(material)
	if err != nil {
		return nil, fmt.Errorf("reading the trusted root: %w", err)
	}
	return &authority{
		wanted:   fmt.Sprintf("%q, for whom %q vouches", wanted.Identity+wanted.IdentityPattern, wanted.Issuer+wanted.IssuerPattern),
		material: material, identity: verify.WithCertificateIdentity(certificate), options: options,
	}, nil
}

// whole returns a pattern that matches as a whole only: "example.com" would else match "example.com.evil.example".
func whole(exact, pattern, what string) (string, error) {
	switch {
	case (exact == "") == (pattern == ""):
		return "", fmt.Errorf("the %s or a pattern for it is wanted, one of them", what)
	case pattern == "":
		return "", nil
	}
	if _, err := regexp.Compile(pattern); err != nil {
		return "", fmt.Errorf("the pattern for the %s is no regular expression: %w", what, err)
	}
	return "^(?:" + pattern + ")$", nil
}

// demands returns what a signature must come with: whatever the trusted root has a judge for. A root of one's own that has
// no log of certificates, say, cannot demand that they are logged; sigstore's public one has all of them.
func demands(material root.TrustedMaterial) ([]verify.VerifierOption, error) {
	options := []verify.VerifierOption{verify.WithObserverTimestamps(1)}
	if len(material.FulcioCertificateAuthorities()) == 0 {
		return nil, errors.New("it names no certificate authority")
	}
	if len(material.RekorLogs()) == 0 && len(material.TimestampingAuthorities()) == 0 {
		return nil, errors.New("it names neither a transparency log nor a timestamp authority, and nothing would tell when a signature was made")
	}
	if len(material.RekorLogs()) > 0 {
		options = append(options, verify.WithTransparencyLog(1))
	}
	if len(material.CTLogs()) > 0 {
		options = append(options, verify.WithSignedCertificateTimestamps(1))
	}
	return options, nil
}

// String implements signer.
func (a *authority) String() string { return a.wanted }

// bundle implements signer.
func (a *authority) bundle(content []byte, image v1.Hash) (by, predicateType string, err error) {
	predicateType, err = checkBundle(content, image, a.material, a.identity, a.options...)
	if err != nil {
		return "", "", err
	}
	return a.wanted, predicateType, nil
}

// payload implements signer: what cosign wrote before there were bundles is made one, and judged as such.
func (a *authority) payload(content []byte, layer v1.Descriptor) (string, error) {
	signature, err := signatureOf(layer)
	if err != nil {
		return "", err
	}
	material, err := materialOf(layer.Annotations)
	if err != nil {
		return "", err
	}
	digest := sha256.Sum256(content)
	made, err := bundle.NewBundle(&bundlespec.Bundle{
		MediaType:            "application/vnd.dev.sigstore.bundle+json;version=0.1",
		VerificationMaterial: material,
		Content: &bundlespec.Bundle_MessageSignature{MessageSignature: &commonspec.MessageSignature{
			MessageDigest: &commonspec.HashOutput{Algorithm: commonspec.HashAlgorithm_SHA2_256, Digest: digest[:]},
			Signature:     signature,
		}},
	})
	if err != nil {
		return "", err
	}
	verifier, err := verify.NewVerifier(a.material, a.options...)
	if err != nil {
		return "", err
	}
	_, err = verifier.Verify(made, verify.NewPolicy(verify.WithArtifact(bytes.NewReader(content)), a.identity))
	if err != nil {
		return "", err
	}
	return a.wanted, nil
}

// materialOf reads the certificate, the log's entry and the timestamp beside a payload.
func materialOf(annotations map[string]string) (*bundlespec.VerificationMaterial, error) {
	block, _ := pem.Decode([]byte(annotations[certificateAnnotation]))
	if block == nil {
		return nil, errors.New("it comes without a certificate")
	}
	if _, err := x509.ParseCertificate(block.Bytes); err != nil {
		return nil, fmt.Errorf("reading its certificate: %w", err)
	}
	material := &bundlespec.VerificationMaterial{
		Content: &bundlespec.VerificationMaterial_X509CertificateChain{X509CertificateChain: &commonspec.X509CertificateChain{
			Certificates: []*commonspec.X509Certificate{{RawBytes: block.Bytes}},
		}},
	}
	if text := annotations[logAnnotation]; text != "" {
		entry, err := logEntry([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("reading its log entry: %w", err)
		}
		material.TlogEntries = []*logspec.TransparencyLogEntry{entry}
	}
	if text := annotations[timestampAnnotation]; text != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(text), &stamp); err != nil {
			return nil, fmt.Errorf("reading its timestamp: %w", err)
		}
		material.TimestampVerificationData = &bundlespec.TimestampVerificationData{
			Rfc3161Timestamps: []*commonspec.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	return material, nil
}

// logEntry reads what Rekor promised, in cosign's form of it.
func logEntry(text []byte) (*logspec.TransparencyLogEntry, error) {
	var given struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           string `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal(text, &given); err != nil {
		return nil, err
	}
	body, err := base64.StdEncoding.DecodeString(given.Payload.Body)
	if err != nil {
		return nil, err
	}
	var kind struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(body, &kind); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(given.Payload.LogID)
	if err != nil {
		return nil, err
	}
	return &logspec.TransparencyLogEntry{
		LogIndex: given.Payload.LogIndex, LogId: &commonspec.LogId{KeyId: id}, IntegratedTime: given.Payload.IntegratedTime,
		KindVersion:       &logspec.KindVersion{Kind: kind.Kind, Version: kind.APIVersion},
		InclusionPromise:  &logspec.InclusionPromise{SignedEntryTimestamp: given.SignedEntryTimestamp},
		CanonicalizedBody: body,
	}, nil
}
