package signature_test

import (
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	bundlespec "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	commonspec "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	dssespec "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	logspec "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/signature"
)

const (
	identity = "https://gitlab.example/deepsky/hello//.gitlab-ci.yml@refs/heads/main"
	issuer   = "https://gitlab.example"
)

// instance is a sigstore of the test: authority, log, timestamps.
type instance struct{ *ca.VirtualSigstore }

func newInstance(t testing.TB) instance {
	t.Helper()
	return instance{must(ca.NewVirtualSigstore())}
}

// root is what one trusts who trusts the instance.
func (i instance) root(t testing.TB, certificates map[string]*root.TransparencyLog) []byte {
	t.Helper()
	logs := i.RekorLogs()
	for id, log := range logs {
		log.ID = must(hex.DecodeString(id)) // the kit has it in text there
	}
	for id, log := range certificates {
		log.ID = must(hex.DecodeString(id))
	}
	made, err := root.NewTrustedRoot(root.TrustedRootMediaType01, i.FulcioCertificateAuthorities(), certificates, i.TimestampingAuthorities(), logs)
	if err != nil {
		t.Fatal(err)
	}
	return must(json.Marshal(made))
}

// bundle is a statement about the image, signed by whom the identity names, at a time, in a sigstore bundle; change may
// take something out of it.
func (i instance) bundle(t testing.TB, statement []byte, at time.Time, change func(*bundlespec.Bundle)) layer {
	t.Helper()
	entity := must(i.AttestAtTime(identity, issuer, statement, at, true))
	envelope := must(entity.SignatureContent()).EnvelopeContent().RawEnvelope()
	made := &bundlespec.Bundle{
		MediaType: bundleType,
		VerificationMaterial: &bundlespec.VerificationMaterial{
			Content: &bundlespec.VerificationMaterial_Certificate{
				Certificate: &commonspec.X509Certificate{RawBytes: must(entity.VerificationContent()).Certificate().Raw},
			},
		},
		Content: &bundlespec.Bundle_DsseEnvelope{DsseEnvelope: &dssespec.Envelope{
			Payload: must(base64.StdEncoding.DecodeString(envelope.Payload)), PayloadType: envelope.PayloadType,
			Signatures: []*dssespec.Signature{{Sig: must(base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig))}},
		}},
	}
	made.VerificationMaterial.TlogEntries = []*logspec.TransparencyLogEntry{i.promised(t, entity)}
	if change != nil {
		change(made)
	}
	return layer{bundleType, must(protojson.Marshal(made)), nil}
}

// promised is the log's entry for a signature, with what the kit leaves out of it.
func (i instance) promised(t testing.TB, entity *ca.TestEntity) *logspec.TransparencyLogEntry {
	t.Helper()
	entry := must(entity.TlogEntries())[0].TransparencyLogEntry()
	var kind struct{ Kind, APIVersion string }
	if err := json.Unmarshal(entry.GetCanonicalizedBody(), &kind); err != nil {
		t.Fatal(err)
	}
	entry.KindVersion = &logspec.KindVersion{Kind: kind.Kind, Version: kind.APIVersion}
	entry.InclusionPromise = &logspec.InclusionPromise{SignedEntryTimestamp: must(i.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), IntegratedTime: entry.GetIntegratedTime(),
		LogIndex: entry.GetLogIndex(), LogID: must(i.RekorLogID()),
	}))}
	return entry
}

// simple is a payload of simple signing as cosign 2 leaves it.
func (i instance) simple(t testing.TB, content []byte, change func(annotations map[string]string)) layer {
	t.Helper()
	entity := must(i.SignWithVersion(identity, issuer, content, "v0.1"))
	entry := i.promised(t, entity)
	log := map[string]any{
		"SignedEntryTimestamp": entry.GetInclusionPromise().GetSignedEntryTimestamp(),
		"Payload": map[string]any{
			"body": base64.StdEncoding.EncodeToString(entry.GetCanonicalizedBody()), "integratedTime": entry.GetIntegratedTime(),
			"logIndex": entry.GetLogIndex(), "logID": hex.EncodeToString(entry.GetLogId().GetKeyId()),
		},
	}
	certificate := must(entity.VerificationContent()).Certificate()
	annotations := map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(must(entity.SignatureContent()).Signature()),
		"dev.sigstore.cosign/certificate":    certificatePEM(certificate),
		"dev.sigstore.cosign/bundle":         string(must(json.Marshal(log))),
	}
	if change != nil {
		change(annotations)
	}
	return layer{payloadType, content, annotations}
}

func certificatePEM(certificate *x509.Certificate) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw}))
}

func TestSignedKeyless(t *testing.T) {
	t.Parallel()
	ours, theirs := newInstance(t), newInstance(t)
	soon := time.Now().Add(5 * time.Minute) // the kit's certificates are valid for ten, from now on
	trusted := ours.root(t, nil)
	exact := signature.Keyless{Identity: identity, Issuer: issuer}
	bundled := func(s *stage) { s.refer(bundleType, ours.bundle(s, statement(signed, s.image), soon, nil)) }
	payload := func(s *stage) []byte { return payloadOf("cosign container image signature", s.image.String()) }
	tagged := func(s *stage) { s.tag(ours.simple(s, payload(s), nil)) }
	for _, row := range []struct {
		description string
		wanted      signature.Keyless
		root        []byte
		leave       func(*stage)
		problem     string // "" means that it counts
	}{
		{"a bundle", exact, trusted, bundled, ""},
		{"a tag", exact, trusted, tagged, ""},
		{"by patterns", signature.Keyless{IdentityPattern: `https://gitlab\.example/deepsky/.*@refs/heads/main`, IssuerPattern: `https://gitlab\.example`}, trusted, bundled, ""},
		{"a tag, by patterns", signature.Keyless{IdentityPattern: `https://gitlab\.example/deepsky/.*`, Issuer: issuer}, trusted, tagged, ""},
		{"a pattern that fits a part", signature.Keyless{IdentityPattern: `gitlab\.example/deepsky`, Issuer: issuer}, trusted, bundled, "match regex"},
		{"a pattern of two, each of which fits a part", signature.Keyless{IdentityPattern: `https|x`, Issuer: issuer}, trusted, bundled, "match regex"},
		{"another identity", signature.Keyless{Identity: identity + "x", Issuer: issuer}, trusted, bundled, "expected SAN value"},
		{"another issuer", signature.Keyless{Identity: identity, Issuer: "https://gitlab.example.evil"}, trusted, bundled, "expected issuer value"},
		{"a tag with another issuer", signature.Keyless{Identity: identity, Issuer: "https://github.example"}, trusted, tagged, "expected issuer value"},
		{"another's authority", exact, theirs.root(t, nil), bundled, "not enough verified log entries"},
		{"a tag by another's authority", exact, theirs.root(t, nil), tagged, "not enough verified log entries"},
		{"an attestation", exact, trusted, func(s *stage) {
			s.refer(bundleType, ours.bundle(s, statement("https://slsa.dev/provenance/v1", s.image), soon, nil))
		}, "which is no signature"},
		{"of another image", exact, trusted, func(s *stage) {
			other := s.image
			other.Hex = strings.Repeat("0", 64)
			s.refer(bundleType, ours.bundle(s, statement(signed, other), soon, nil))
		}, "does not match any digest"},
		{"a tag of another image", exact, trusted, func(s *stage) {
			s.tag(ours.simple(s, payloadOf("cosign container image signature", "sha256:"+strings.Repeat("0", 64)), nil))
		}, "it is of another image"},
		{"made after the certificate had expired", exact, trusted, func(s *stage) {
			s.refer(bundleType, ours.bundle(s, statement(signed, s.image), time.Now().Add(30*time.Minute), nil))
		}, "outside certificate validity"},
		{"without the log's entry", exact, trusted, func(s *stage) {
			s.refer(bundleType, ours.bundle(s, statement(signed, s.image), soon, func(b *bundlespec.Bundle) {
				b.VerificationMaterial.TlogEntries = nil
			}))
		}, "not enough verified log entries"},
		{"with the entry of another signature", exact, trusted, func(s *stage) {
			var foreign []*logspec.TransparencyLogEntry
			ours.bundle(s, statement("x", s.image), soon, func(b *bundlespec.Bundle) { foreign = b.VerificationMaterial.TlogEntries })
			s.refer(bundleType, ours.bundle(s, statement(signed, s.image), soon, func(b *bundlespec.Bundle) {
				b.VerificationMaterial.TlogEntries = foreign
			}))
		}, "transparency log signature does not match"},
		{"a tag without the log's entry", exact, trusted, func(s *stage) {
			s.tag(ours.simple(s, payload(s), func(annotations map[string]string) { delete(annotations, "dev.sigstore.cosign/bundle") }))
		}, "not enough verified log entries"},
		{"a tag without the certificate", exact, trusted, func(s *stage) {
			s.tag(ours.simple(s, payload(s), func(annotations map[string]string) { delete(annotations, "dev.sigstore.cosign/certificate") }))
		}, "without a certificate"},
		{"the root has a log of certificates, and this one is in none", exact, ours.root(t, ours.CTLogs()), bundled, "0 SCT entries"},
		{"a key's", exact, trusted, func(s *stage) { s.refer(bundleType, ed25519Key().bundle(signed, s.image)) }, "none of its 1 signatures counts"},
		{"nothing", exact, trusted, func(*stage) {}, "it is not signed"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, faultyregistry.StartListing(t))
			row.leave(s)
			row.wanted.TrustedRoot = row.root
			verifier, err := signature.New(signature.Policy{Keyless: &row.wanted})
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifier.Check(t.Context(), s, s.image)
			if row.problem == "" {
				if err != nil || got.By != verifier.String() {
					t.Errorf("%+v, error %v", got, err)
				}
				return
			}
			if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.problem) {
				t.Errorf("error %v of kind %v, want %q", err, fault.KindOf(err), row.problem)
			}
		})
	}
}
