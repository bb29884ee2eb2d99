package record_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/record"
)

const (
	hello   = "deepsky/awl-deepsky-hello"
	staging = "staging"
)

var noon = time.Date(2026, 5, 4, 12, 0, 0, 0, time.UTC)

func digestOf(letter string) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: strings.Repeat(letter, 64)}
}

// verification returns a record of an image, by default of staging.
func verification(digest v1.Hash, verdict string, at time.Time) record.Record {
	return record.Record{Image: hello, Digest: digest, Verification: &record.Verification{
		Environment: staging, Verdict: verdict, Digest: digest.String(), Time: at, Tool: "dockline verify devel",
	}}
}

// promoted returns a record of a promotion to the tag 1.0.
func promoted(digest v1.Hash, kind string, at time.Time) record.Record {
	p := &record.Promotion{
		Kind: kind, From: "testing.example/" + hello + ":1.0", To: "registry.example/" + hello + ":1.0",
		Digest: digest.String(), Time: at, Tool: "dockline promote devel",
	}
	if kind == record.Forced {
		p.Replaced, p.Backup, p.Reason = digestOf("b").String(), "registry.example/"+hello+":1.0-replaced-bbbbbbbb", "why"
	}
	return record.Record{Image: hello, Digest: digest, Promotion: p}
}

// newKey returns a new ECDSA key.
func newKey(t testing.TB) *record.Key {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	return must(record.ReadKey(pkcs8(private), ""))
}

// fixedKey returns an Ed25519 key, the same for each number.
func fixedKey(number byte) *record.Key {
	return must(record.ReadKey(pkcs8(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{number}, ed25519.SeedSize))), ""))
}

func pkcs8(private crypto.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: must(x509.MarshalPKCS8PrivateKey(private))})
}

func publicPEM(public crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}
