package signature_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/registry"
)

const (
	payloadType = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundleType  = "application/vnd.dev.sigstore.bundle.v0.3+json"
	signed      = "https://sigstore.dev/cosign/sign/v1"
)

// stage is a repository with an image in it.
type stage struct {
	testing.TB
	*registry.Repository
	server *faultyregistry.Registry
	image  v1.Hash
}

func newStage(t testing.TB, server *faultyregistry.Registry) *stage {
	t.Helper()
	opened, err := registry.Open(registry.Config{
		Address: server.Host(), Insecure: true, Side: "source registry", Patience: registry.Patience{
			Attempts: 2, First: time.Millisecond, Longest: time.Millisecond, LongestAsked: time.Second, Silence: 5 * time.Second,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	image := must(random.Image(512, 1))
	s := &stage{TB: t, Repository: opened.Repository("a/b"), server: server, image: must(image.Digest())}
	if err := remote.Write(must(name.ParseReference(s.Reference("1.0"), name.Insecure)), image); err != nil {
		t.Fatal(err)
	}
	return s
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// layer is a blob that a manifest of signatures lists.
type layer struct {
	mediaType   types.MediaType
	content     []byte
	annotations map[string]string
}

// manifest uploads the layers, and makes a manifest of them.
func (s *stage) manifest(artifactType string, subject bool, layers ...layer) registry.Manifest {
	s.Helper()
	at := must(name.NewRepository(s.String(), name.Insecure))
	var list []map[string]any
	for _, one := range layers {
		blob := static.NewLayer(one.content, one.mediaType)
		if err := remote.WriteLayer(at, blob); err != nil {
			s.Fatal(err)
		}
		list = append(list, map[string]any{
			"mediaType": one.mediaType, "size": len(one.content), "digest": must(blob.Digest()).String(), "annotations": one.annotations,
		})
	}
	config := static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json")
	if err := remote.WriteLayer(at, config); err != nil {
		s.Fatal(err)
	}
	content := map[string]any{
		"schemaVersion": 2, "mediaType": types.OCIManifestSchema1, "layers": list,
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "size": 2, "digest": must(config.Digest()).String()},
	}
	if artifactType != "" {
		content["artifactType"] = artifactType
	}
	if subject {
		content["subject"] = map[string]any{"mediaType": types.OCIManifestSchema1, "digest": s.image.String(), "size": 1}
	}
	raw := must(json.Marshal(content))
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		s.Fatal(err)
	}
	return registry.Manifest{MediaType: types.OCIManifestSchema1, Digest: digest, Raw: raw}
}

// tag leaves signatures as cosign 2 does.
func (s *stage) tag(layers ...layer) {
	s.Helper()
	if err := s.Put(s.Context(), s.manifest("", false, layers...), "sha256-"+s.image.Hex+".sig"); err != nil {
		s.Fatal(err)
	}
}

// refer leaves a signature as a referrer.
func (s *stage) refer(artifactType string, layers ...layer) {
	s.Helper()
	if err := s.PutReferrers(s.Context(), s.image, []registry.Manifest{s.manifest(artifactType, true, layers...)}); err != nil {
		s.Fatal(err)
	}
}

// pair is a key to sign with.
type pair struct {
	private crypto.Signer
	hash    crypto.Hash // 0 for what is signed as it is
}

func ecdsaKey(curve elliptic.Curve, hash crypto.Hash) pair {
	return pair{must(ecdsa.GenerateKey(curve, rand.Reader)), hash}
}

func rsaKey(bits int) pair { return pair{must(rsa.GenerateKey(rand.Reader, bits)), crypto.SHA256} }

func ed25519Key() pair {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	return pair{must(private, err), 0}
}

func (p pair) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(p.private.Public()))})
}

func (p pair) sign(message []byte) []byte {
	if p.hash != 0 {
		h := p.hash.New()
		h.Write(message)
		message = h.Sum(nil)
	}
	return must(p.private.Sign(rand.Reader, message, p.hash))
}

func payloadOf(kind, digest string) []byte {
	return []byte(fmt.Sprintf(`{"critical":{"identity":{"docker-reference":"registry.example/a/b"},"image":{"docker-manifest-digest":%q},"type":%q},"optional":null}`,
		digest, kind))
}

// simple is a payload of simple signing, signed.
func (p pair) simple(image v1.Hash) layer {
	return p.over(payloadOf("cosign container image signature", image.String()))
}

func (p pair) over(content []byte) layer {
	return layer{payloadType, content, map[string]string{
		"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(p.sign(content)),
	}}
}

func statement(predicate string, image v1.Hash) []byte {
	return []byte(fmt.Sprintf(`{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`,
		image.Hex, predicate))
}

// bundle is a statement about an image in a sigstore bundle, signed by a key (DSSE).
func (p pair) bundle(predicate string, image v1.Hash) layer {
	const kind = "application/vnd.in-toto+json"
	body := statement(predicate, image)
	signature := p.sign([]byte(fmt.Sprintf("DSSEv1 %d %s %d %s", len(kind), kind, len(body), body)))
	return layer{bundleType, must(json.Marshal(map[string]any{
		"mediaType": bundleType, "verificationMaterial": map[string]any{"publicKey": map[string]string{"hint": "x"}},
		"dsseEnvelope": map[string]any{"payload": body, "payloadType": kind, "signatures": []any{map[string]any{"sig": signature}}},
	})), nil}
}
