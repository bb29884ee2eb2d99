package signature

import (
	"bytes"
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

// keys are the holders of private keys: a signature by one of them counts.
type keys []key

// key is the holder of a private key.
type key struct {
	public      crypto.PublicKey
	fingerprint string
}

// mostKeys is more than anyone rotates at a time: each signature may cost a try with every key.
const mostKeys = 16

// newKeys reads public keys, one after the other. Errors do not quote what was given: it may be a private one.
func newKeys(text []byte) (keys, error) {
	var all keys
	rest := text
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		one, err := newKey(block)
		if err != nil {
			return nil, err
		}
		if all = append(all, one); len(all) > mostKeys {
			return nil, fmt.Errorf("there are more than %d keys", mostKeys)
		}
	}
	switch {
	case len(all) == 0:
		return nil, errors.New("the key is not in PEM form")
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, errors.New("what follows the last whole key is not in PEM form")
	}
	return all, nil
}

func newKey(block *pem.Block) (key, error) {
	if strings.Contains(block.Type, "PRIVATE") {
		return key{}, errors.New("the key is a private one: the public one is wanted, and the other is best kept elsewhere")
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return key{}, errors.New("the key is no public key (PEM, \"PUBLIC KEY\")")
	}
	switch public := public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
	case *rsa.PublicKey:
		if public.N.BitLen() < 2048 {
			return key{}, fmt.Errorf("the RSA key has %d bits: 2048 are the least", public.N.BitLen())
		}
	default:
		return key{}, fmt.Errorf("the key is of a sort (%T) that images are not signed with", public)
	}
	sum := sha256.Sum256(block.Bytes)
	return key{public, "sha256:" + hex.EncodeToString(sum[:8])}, nil
}

// String implements signer.
func (k keys) String() string {
	if len(k) == 1 {
		return k[0].String()
	}
	var names []string
	for _, one := range k {
		names = append(names, one.fingerprint)
	}
	return "one of the keys " + strings.Join(names, ", ")
}

// payload implements signer.
func (k keys) payload(content []byte, layer v1.Descriptor) (string, error) {
	signature, err := signatureOf(layer)
	if err != nil {
		return "", err
	}
	for _, one := range k {
		if err = one.check(content, signature); err == nil {
			return one.String(), nil
		}
	}
	return "", err
}

// bundle implements signer. No log and no timestamp is asked for: the key alone says whose it is.
func (k keys) bundle(content []byte, image v1.Hash) (by, predicateType string, err error) {
	for _, one := range k {
		material := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return &timeless{one}, nil })
		predicateType, err = checkBundle(content, image, material, verify.WithKey(), verify.WithNoObserverTimestamps())
		if err == nil {
			return one.String(), predicateType, nil
		}
	}
	return "", "", err
}

func (k key) String() string { return "the key " + k.fingerprint }

var errSignature = errors.New("it is not by this key")

// check tells whether the signature of the message is by this key. Cosign hashes with SHA-256 for every curve, other tools
// with the hash that belongs to it.
func (k key) check(message, signature []byte) error {
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

// timeless is a key as sigstore-go wants it: valid until it is taken out of the configuration.
type timeless struct{ key }

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
