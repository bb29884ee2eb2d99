//go:build e2e

package cluster_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"
)

// recordKeyPassword is what the key for records is encrypted with.
const recordKeyPassword = "the records' password"

// recordKey returns a key for records, in the form in which cosign generate-key-pair writes cosign.key.
func recordKey(t *testing.T) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	// The weakest of the derivations: it protects nothing here.
	sealed, err := encrypted.EncryptWithCustomKDFParameters(der, []byte(recordKeyPassword), encrypted.Legacy)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: sealed}))
}
