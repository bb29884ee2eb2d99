package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/signature"
)

func TestSignedByAKey(t *testing.T) {
	t.Parallel()
	right, wrong := ecdsaKey(elliptic.P256(), crypto.SHA256), ecdsaKey(elliptic.P256(), crypto.SHA256)
	other := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	tagged := func(key pair) (pair, func(*stage)) { return key, func(s *stage) { s.tag(key.simple(s.image)) } }
	type row struct {
		description string
		key         pair
		leave       func(*stage)
		problem     string // "" means that it counts
	}
	var rows []row
	add := func(description string, key pair, leave func(*stage)) {
		rows = append(rows, row{description, key, leave, ""})
	}
	refuse := func(description, problem string, leave func(*stage)) {
		rows = append(rows, row{description, right, leave, problem})
	}
	for description, key := range map[string]pair{
		"ECDSA P-256": right, "ECDSA P-384 with cosign's hash": ecdsaKey(elliptic.P384(), crypto.SHA256),
		"ECDSA P-384 with its own hash": ecdsaKey(elliptic.P384(), crypto.SHA384), "ECDSA P-521": ecdsaKey(elliptic.P521(), crypto.SHA512),
		"RSA": rsaKey(2048), "Ed25519": ed25519Key(),
	} {
		_, leave := tagged(key)
		add("a tag, "+description, key, leave)
		add("a bundle, "+description, key, func(s *stage) { s.refer(bundleType, key.bundle(signed, s.image)) })
	}
	add("a payload in a referrer", right, func(s *stage) {
		s.refer("application/vnd.dev.cosign.artifact.sig.v1+json", right.simple(s.image))
	})
	add("a referrer whose maker gave no type", right, func(s *stage) { s.refer("", right.bundle(signed, s.image)) })
	add("the second of two", right, func(s *stage) { s.tag(wrong.simple(s.image), right.simple(s.image)) })
	add("a bundle beside a tag that does not count", right, func(s *stage) {
		s.tag(wrong.simple(s.image))
		s.refer(bundleType, right.bundle(signed, s.image))
	})
	refuse("nothing", "it is not signed", func(*stage) {})
	refuse("another key", "none of its 1 signatures counts", func(s *stage) { s.tag(wrong.simple(s.image)) })
	refuse("another key's bundle", "none of its 1 signatures counts", func(s *stage) { s.refer(bundleType, wrong.bundle(signed, s.image)) })
	refuse("of another image", "it is of another image", func(s *stage) { s.tag(right.simple(other)) })
	refuse("a bundle of another image", "none of its 1 signatures counts", func(s *stage) { s.refer(bundleType, right.bundle(signed, other)) })
	refuse("of another type", "of the type", func(s *stage) { s.tag(right.over(payloadOf("atomic container signature", s.image.String()))) })
	refuse("an attestation", `it attests "https://slsa.dev/provenance/v1"`, func(s *stage) {
		s.refer(bundleType, right.bundle("https://slsa.dev/provenance/v1", s.image))
	})
	refuse("a payload that was changed", "it is not by this key", func(s *stage) {
		one := right.simple(other)
		one.content = payloadOf("cosign container image signature", s.image.String())
		s.tag(one)
	})
	refuse("without its signature", "missing", func(s *stage) { s.tag(layer{payloadType, payloadOf("x", s.image.String()), nil}) })
	refuse("a bundle of nonsense", "reading the bundle", func(s *stage) { s.refer(bundleType, layer{bundleType, []byte("{}"), nil}) })
	refuse("a bundle that lost its key", "none of its 1 signatures counts", func(s *stage) {
		one := right.bundle(signed, s.image)
		one.content = bytes.Replace(one.content, []byte(`"hint":"x"`), nil, 1)
		one.content = bytes.Replace(one.content, []byte(`"publicKey":{}`), nil, 1)
		s.refer(bundleType, one)
	})
	refuse("too large", "1 MiB are the most", func(s *stage) { s.tag(layer{payloadType, make([]byte, 2<<20), nil}) })
	refuse("of what only calls itself a signature", "it is not signed", func(s *stage) {
		s.tag(layer{"application/octet-stream", right.simple(s.image).content, right.simple(s.image).annotations})
	})
	refuse("behind a hundred that do not count", "none of its first 100 signatures counts", func(s *stage) {
		var many []layer
		for range 101 {
			many = append(many, wrong.simple(s.image))
		}
		s.tag(append(many, right.simple(s.image))...)
	})
	for _, start := range []func(testing.TB) *faultyregistry.Registry{faultyregistry.Start, faultyregistry.StartListing} {
		for _, row := range rows {
			t.Run(row.description, func(t *testing.T) {
				t.Parallel()
				s := newStage(t, start(t))
				row.leave(s)
				verifier, err := signature.New(signature.Policy{Key: row.key.pem()})
				if err != nil {
					t.Fatal(err)
				}
				got, err := verifier.Check(t.Context(), s, s.image)
				if row.problem == "" {
					if err != nil || got.By != verifier.String() || got.At == "" {
						t.Errorf("%+v, error %v", got, err)
					}
					return
				}
				if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), row.problem) || fault.SideOf(err) != "source registry" {
					t.Errorf("error %v of kind %v, want %q", err, fault.KindOf(err), row.problem)
				}
			})
		}
	}
}

// TestOneOfSeveralKeysIsEnough: keys are changed by putting the new one beside the old one.
func TestOneOfSeveralKeysIsEnough(t *testing.T) {
	t.Parallel()
	old, next, other := ecdsaKey(elliptic.P256(), crypto.SHA256), ed25519Key(), rsaKey(2048)
	verifier, err := signature.New(signature.Policy{Key: append(append(old.pem(), "a comment\n"...), next.pem()...)})
	if err != nil {
		t.Fatal(err)
	}
	if names := verifier.String(); !strings.HasPrefix(names, "one of the keys sha256:") || strings.Count(names, "sha256:") != 2 {
		t.Errorf("wanted: %s", names)
	}
	for _, row := range []struct {
		description string
		key         pair
		good        bool
	}{{"the old one", old, true}, {"the new one", next, true}, {"another", other, false}} {
		for form, leave := range map[string]func(*stage){
			"a tag":    func(s *stage) { s.tag(row.key.simple(s.image)) },
			"a bundle": func(s *stage) { s.refer(bundleType, row.key.bundle(signed, s.image)) },
		} {
			s := newStage(t, faultyregistry.Start(t))
			leave(s)
			alone, err := signature.New(signature.Policy{Key: row.key.pem()})
			if err != nil {
				t.Fatal(err)
			}
			got, err := verifier.Check(t.Context(), s, s.image)
			if (err == nil) != row.good || row.good && got.By != alone.String() {
				t.Errorf("%s, %s: %+v, %v", row.description, form, got, err)
			}
		}
	}
}

// TestWhatCouldNotBeAskedIsNoSignature: nor is it a refusal, since another attempt may find one.
func TestWhatCouldNotBeAskedIsNoSignature(t *testing.T) {
	t.Parallel()
	key := ed25519Key()
	for _, row := range []struct {
		description, request string
		fault                faultyregistry.Fault
		leave                func(*stage)
		kind                 fault.Kind // 0 means that it counts all the same
	}{
		{"the tag may not be read", "GET .sig", faultyregistry.Status(403, "DENIED"), nil, fault.Denied},
		{"the tag's registry is out of order", "GET .sig", faultyregistry.Status(500, ""), nil, fault.Unavailable},
		{"the tag is answered by a page", "GET .sig", faultyregistry.Page(404), nil, fault.Unavailable},
		{"the list is out of order", "GET /referrers/", faultyregistry.Status(503, ""), nil, fault.Unavailable},
		{"the list is out of order, and the tag counts", "GET /referrers/", faultyregistry.Status(503, ""),
			func(s *stage) { s.tag(key.simple(s.image)) }, 0},
		{"the payload does not come", "GET /blobs/", faultyregistry.Reset(0), func(s *stage) { s.tag(key.simple(s.image)) }, fault.Unavailable},
		{"the payload is another", "GET /blobs/", faultyregistry.Corrupt(), func(s *stage) { s.tag(key.simple(s.image)) }, fault.Refused},
		{"the payload is gone", "GET /blobs/", faultyregistry.Status(http.StatusNotFound, "BLOB_UNKNOWN"),
			func(s *stage) { s.tag(key.simple(s.image)) }, fault.Refused},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t, faultyregistry.StartListing(t))
			if row.leave != nil {
				row.leave(s)
			}
			s.server.Break(row.request, -1, row.fault)
			verifier, err := signature.New(signature.Policy{Key: key.pem()})
			if err != nil {
				t.Fatal(err)
			}
			_, err = verifier.Check(t.Context(), s, s.image)
			if row.kind == 0 && err != nil || row.kind != 0 && fault.KindOf(err) != row.kind {
				t.Errorf("error %v of kind %v, want %v", err, fault.KindOf(err), row.kind)
			}
		})
	}
}

func TestPoliciesThatAreNone(t *testing.T) {
	t.Parallel()
	key := ecdsaKey(elliptic.P256(), crypto.SHA256)
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(key.private.(*ecdsa.PrivateKey)))})
	for _, row := range []struct {
		description string
		policy      signature.Policy
		text        string
	}{
		{"nothing", signature.Policy{}, "neither"},
		{"both", signature.Policy{Key: key.pem(), Keyless: &signature.Keyless{}}, "both"},
		{"no PEM", signature.Policy{Key: []byte("secret nonsense")}, "PEM"},
		{"the private key", signature.Policy{Key: private}, "private"},
		{"a PEM of something else", signature.Policy{Key: pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("x")})}, "public key"},
		{"the private key behind the public one", signature.Policy{Key: append(key.pem(), private...)}, "private"},
		{"a second key that is cut", signature.Policy{Key: append(key.pem(), key.pem()[:80]...)}, "what follows the last whole key"},
		{"too many keys", signature.Policy{Key: bytes.Repeat(key.pem(), 17)}, "more than 16"},
		{"a short RSA key", signature.Policy{Key: rsaKey(1024).pem()}, "2048"},
		{"no identity", signature.Policy{Keyless: &signature.Keyless{Issuer: "https://x"}}, "identity"},
		{"no issuer", signature.Policy{Keyless: &signature.Keyless{Identity: "x"}}, "issuer"},
		{"identity and pattern", signature.Policy{Keyless: &signature.Keyless{Identity: "x", IdentityPattern: "x"}}, "identity"},
		{"a pattern that is none", signature.Policy{Keyless: &signature.Keyless{IdentityPattern: "(", Issuer: "x"}}, "regular expression"},
		{"no root", signature.Policy{Keyless: &signature.Keyless{Identity: "x", Issuer: "x"}}, "trusted root is missing"},
		{"a root that is none", signature.Policy{Keyless: &signature.Keyless{Identity: "x", Issuer: "x", TrustedRoot: []byte("nonsense")}}, "trusted root"},
		{"a root without authorities", signature.Policy{Keyless: &signature.Keyless{
			Identity: "x", Issuer: "x", TrustedRoot: []byte(`{"mediaType":"application/vnd.dev.sigstore.trustedroot+json;version=0.1"}`),
		}}, "no certificate authority"},
	} {
		_, err := signature.New(row.policy)
		if fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), row.text) || strings.Contains(err.Error(), "nonsense") && row.description == "no PEM" {
			t.Errorf("%s: error %v of kind %v, want %q", row.description, err, fault.KindOf(err), row.text)
		}
	}
}
