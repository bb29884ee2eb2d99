package record_test

import (
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"dockline/pkg/fault"
	"dockline/pkg/record"
)

func TestKeysOfEveryKind(t *testing.T) {
	t.Parallel()
	_, edwards, _ := ed25519.GenerateKey(rand.Reader)
	for name, private := range map[string]crypto.Signer{
		"ECDSA P-256": must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)),
		"ECDSA P-384": must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)),
		"ECDSA P-521": must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)),
		"RSA":         must(rsa.GenerateKey(rand.Reader, 2048)),
		"Ed25519":     edwards,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			der := must(x509.MarshalPKCS8PrivateKey(private))
			forms := map[string]*pem.Block{"PKCS #8": {Type: "PRIVATE KEY", Bytes: der}}
			if name == "ECDSA P-256" { // what cosign makes; decrypting is slow on purpose
				forms["cosign"] = &pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: encrypt(der, "a password")}
			}
			switch private := private.(type) {
			case *ecdsa.PrivateKey:
				forms["SEC 1"] = &pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(private))}
			case *rsa.PrivateKey:
				forms["PKCS #1"] = &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)}
			}
			public := must(record.ReadKeys(publicPEM(private.Public())))
			for form, block := range forms {
				key, err := record.ReadKey(pem.EncodeToMemory(block), "a password")
				if err != nil {
					t.Errorf("%s: %v", form, err)
					continue
				}
				read, err := record.Read(layerOf(t, promoted(digestOf("a"), record.Copied, noon), key), public)
				if err != nil || read.Key != key.ID() || len(read.Key) != 64 {
					t.Errorf("%s: signed by %q, read as signed by %q, %v", form, key.ID(), read.Key, err)
				}
			}
		})
	}
}

func TestKeysThatAreRefused(t *testing.T) {
	t.Parallel()
	der := must(x509.MarshalPKCS8PrivateKey(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))))
	block := func(kind string, content []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: content}))
	}
	plain := block("PRIVATE KEY", der)
	for name, row := range map[string]struct{ text, says string }{
		"nothing":            {"", "not in PEM form"},
		"not PEM":            {"a key", "not in PEM form"},
		"damaged":            {block("PRIVATE KEY", der[:20]), "damaged"},
		"a certificate":      {block("CERTIFICATE", der), `"CERTIFICATE" is no private key`},
		"another password":   {block("ENCRYPTED SIGSTORE PRIVATE KEY", encrypt(der, "another")), "does not decrypt"},
		"encrypted, damaged": {block("ENCRYPTED COSIGN PRIVATE KEY", []byte(`{"kdf":{"name":"scrypt","params":{"N":1}}}`)), "does not decrypt"},
		"PKCS #8, encrypted": {block("ENCRYPTED PRIVATE KEY", der), "PKCS #8"},
		"PEM, encrypted":     {strings.Replace(plain, "\n", "\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\n", 1), "not safe"},
		"a short RSA key":    {string(pkcs8(must(rsa.GenerateKey(rand.Reader, 1024)))), "1024 bits is too short"},
		"an odd curve":       {string(pkcs8(must(ecdsa.GenerateKey(elliptic.P224(), rand.Reader)))), "curve"},
		"not for signing":    {string(pkcs8(must(ecdh.X25519().GenerateKey(rand.Reader)))), "not one that signs"},
	} {
		_, err := record.ReadKey([]byte(row.text), "a password")
		if fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v; %q is wanted", name, err, row.says)
		}
	}
	one := string(publicPEM(must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).Public()))
	for name, row := range map[string]struct{ text, says string }{
		"nothing":         {"", "there is none"},
		"a private key":   {one + plain, `"PRIVATE KEY" is no public key`},
		"damaged":         {one + block("PUBLIC KEY", []byte("x")), "public keys: "},
		"too many":        {strings.Repeat(one, 65), "more than 64"},
		"a short one":     {string(publicPEM(must(rsa.GenerateKey(rand.Reader, 1024)).Public())), "too short"},
		"not for signing": {string(publicPEM(must(ecdh.X25519().GenerateKey(rand.Reader)).Public())), "none of ECDSA"},
	} {
		_, err := record.ReadKeys([]byte(row.text))
		if fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v; %q is wanted", name, err, row.says)
		}
	}
}

func TestSeveralKeysAreRead(t *testing.T) {
	t.Parallel()
	old, now := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	keys := must(record.ReadKeys([]byte("the old one:\n" + string(publicPEM(old.Public())) + "\nthe new one:\n" + string(publicPEM(now.Public())))))
	for _, private := range []crypto.Signer{old, now} {
		key := must(record.ReadKey(pkcs8(private), ""))
		if read := must(record.Read(layerOf(t, promoted(digestOf("a"), record.Copied, noon), key), keys)); read.Key != key.ID() {
			t.Errorf("signed by %q, read as signed by %q", key.ID(), read.Key)
		}
	}
}

// encrypt does what cosign generate-key-pair does, with half of its work.
func encrypt(der []byte, password string) []byte {
	return must(encrypted.EncryptWithCustomKDFParameters(der, []byte(password), encrypted.Legacy))
}
