package signature

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// key is the holder of a private key.
type key struct {
	public      crypto.PublicKey
	fingerprint string
}

// newKey reads a public key. Errors do not quote what was given: it may be the private one.
func newKey(text []byte) (*key, error) {
	block, _ := pem.Decode(text)
	switch {
	case block == nil:
		return nil, errors.New("the key is not in PEM form")
	case strings.Contains(block.Type, "PRIVATE"):
		return nil, errors.New("the key is a private one: the public one is wanted, and the other is best kept elsewhere")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("the key is no public key (PEM, \"PUBLIC KEY\")")
	}
	switch public := public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		if public.N.BitLen() < 2048 {
			return nil, fmt.Errorf("the RSA key has %d bits: 2048 are the least", public.N.BitLen())
		}
	default:
		return nil, fmt.Errorf("the key is of a sort (%T) that images are not signed with", public)
	}
	sum := sha256.Sum256(block.Bytes)
	return &key{public, "sha256:" + hex.EncodeToString(sum[:8])}, nil
}

// String implements signer.
func (k *key) String() string { return "the key " + k.fingerprint }

var errSignature = errors.New("it is not by this key")

// check tells whether the signature of the message is by this key. Cosign hashes with SHA-256 for every curve, other tools
// with the hash that belongs to it.
func (k *key) check(message, signature []byte) error {
	good := false
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		hashes := []crypto.Hash{crypto.SHA256}
		switch public.Curve.Params().BitSize {
		case 384:
			hashes = append(hashes, crypto.SHA384)
		case 521:
			hashes = append(hashes, crypto.SHA512)
		}
		for _, hash := range hashes {
			good = good || ecdsa.VerifyASN1(public, sum(hash, message), signature)
		}
	case *rsa.PublicKey:
		good = rsa.VerifyPKCS1v15(public, crypto.SHA256, sum(crypto.SHA256, message), signature) == nil
	case ed25519.PublicKey:
		good = ed25519.Verify(public, message, signature)
	}
	if !good {
		return errSignature
	}
	return nil
}

func sum(hash crypto.Hash, message []byte) []byte {
	h := hash.New()
	h.Write(message)
	return h.Sum(nil)
}

// payload implements signer.
func (k *key) payload(content []byte, layer v1.Descriptor) (string, error) {
	signature, err := signatureOf(layer)
	if err != nil {
		return "", err
	}
	return k.String(), k.check(content, signature)
}

// bundle implements signer. No log and no timestamp is asked for: the key alone says whose it is.
func (k *key) bundle(content []byte, image v1.Hash) (by, predicateType string, err error) {
	material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return &timeless{k}, nil })
	predicateType, err = checkBundle(content, image, material, verify.WithKey(), verify.WithNoObserverTimestamps())
	if err != nil {
		return "", "", err
	}
	return k.String(), predicateType, nil
}

// timeless is a key as sigstore-go wants it: valid until it is taken out of the configuration.
type timeless struct{ *key }

func (*timeless) ValidAtTime(time.Time) bool { return true }

func (k *timeless) PublicKey(...signature.PublicKeyOption) (crypto.PublicKey, error) {
	return k.public, nil
}

func (k *timeless) VerifySignature(given, message io.Reader, _ ...signature.VerifyOption) error {
	signed, err := io.ReadAll(given)
	if err != nil {
		return err
	}
	content, err := io.ReadAll(message)
	if err != nil {
		return err
	}
	return k.check(content, signed)
}
