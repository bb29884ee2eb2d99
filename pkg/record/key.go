package record

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"

	"github.com/secure-systems-lab/go-securesystemslib/encrypted"

	"dockline/pkg/fault"
)

// Key is a private key that signs records: ECDSA (P-256, P-384 or P-521) and RSA (2048 bits or more; PKCS #1 v1.5) over
// SHA-256, or Ed25519. These are cosign's signatures.
type Key struct {
	signer crypto.Signer
	id     string
}

// ReadKey reads a private key (PEM): PKCS #8, SEC 1 ("EC PRIVATE KEY"), PKCS #1 ("RSA PRIVATE KEY"), or one that cosign
// made, which the password decrypts. Errors are of kind fault.Configuration, and hold nothing of the key.
func ReadKey(text []byte, password string) (*Key, error) {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "EC PARAMETERS" { // which openssl ecparam puts before the key
			continue
		}
		private, err := privateKey(block, password)
		if err != nil {
			return nil, fault.New(fault.Configuration, "reading the key: %w", err)
		}
		signer, ok := private.(crypto.Signer)
		if !ok {
			return nil, fault.New(fault.Configuration, "reading the key: it is not one that signs")
		}
		id, err := identity(signer.Public())
		if err != nil {
			return nil, fault.New(fault.Configuration, "reading the key: %w", err)
		}
		return &Key{signer: signer, id: id}, nil
	}
	return nil, fault.New(fault.Configuration, "reading the key: it is not in PEM form (-----BEGIN …)")
}

func privateKey(block *pem.Block, password string) (any, error) {
	if block.Headers["DEK-Info"] != "" {
		return nil, errors.New("it is encrypted in a way that is not safe any more: decrypt it, or have cosign encrypt it")
	}
	private, err := any(nil), error(nil)
	switch block.Type {
	case "PRIVATE KEY":
		private, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		private, err = x509.ParseECPrivateKey(block.Bytes)
	case "RSA PRIVATE KEY":
		private, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY":
		var plain []byte
		if plain, err = encrypted.Decrypt(block.Bytes, []byte(password)); err != nil {
			return nil, errors.New("it does not decrypt with this password")
		}
		private, err = x509.ParsePKCS8PrivateKey(plain)
	case "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("it is encrypted as PKCS #8: decrypt it, or have cosign encrypt it")
	default:
		return nil, fmt.Errorf("%q is no private key", shortened(block.Type))
	}
	if err != nil {
		return nil, errors.New("it is damaged, or of a kind that is not known here") // the cause may quote it
	}
	return private, nil
}

// ID returns the key's identity: the SHA-256 of its public half (DER, SubjectPublicKeyInfo), 64 hexadecimal digits.
func (k *Key) ID() string { return k.id }

// Public returns the public half of the key alone; nil of no key.
func (k *Key) Public() Keys {
	if k == nil {
		return nil
	}
	return Keys{{k.signer.Public(), k.id}}
}

func (k *Key) sign(message []byte) ([]byte, error) {
	if _, whole := k.signer.(ed25519.PrivateKey); whole {
		return k.signer.Sign(rand.Reader, message, crypto.Hash(0))
	}
	hash := sha256.Sum256(message)
	return k.signer.Sign(rand.Reader, hash[:], crypto.SHA256)
}

// Keys are public keys: a record signed by any of them counts.
type Keys []publicKey

type publicKey struct {
	crypto.PublicKey
	id string
}

// mostKeys is far above what anyone rotates at a time.
const mostKeys = 64

// ReadKeys reads public keys (PEM, "PUBLIC KEY"), one after the other. Errors are of kind fault.Configuration.
func ReadKeys(text []byte) (Keys, error) {
	var keys Keys
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "PUBLIC KEY" {
			return nil, fault.New(fault.Configuration, "reading public keys: %q is no public key", shortened(block.Type))
		}
		key, err := x509.ParsePKIXPublicKey(block.Bytes)
		if err != nil {
			return nil, fault.New(fault.Configuration, "reading public keys: %w", err)
		}
		id, err := identity(key)
		if err != nil {
			return nil, fault.New(fault.Configuration, "reading public keys: %w", err)
		}
		if keys = append(keys, publicKey{key, id}); len(keys) > mostKeys {
			return nil, fault.New(fault.Configuration, "reading public keys: there are more than %d", mostKeys)
		}
	}
	if len(keys) == 0 {
		return nil, fault.New(fault.Configuration, "reading public keys: there is none in PEM form (-----BEGIN PUBLIC KEY-----)")
	}
	return keys, nil
}

// Has tells whether the public half of a key is among them.
func (k Keys) Has(key *Key) bool {
	return slices.ContainsFunc(k, func(one publicKey) bool { return one.id == key.ID() })
}

// verify returns the identity of the key that made the signature, or "".
func (k Keys) verify(message, signature []byte) string {
	hash := sha256.Sum256(message)
	for _, key := range k {
		var valid bool
		switch public := key.PublicKey.(type) {
		case *ecdsa.PublicKey:
			valid = ecdsa.VerifyASN1(public, hash[:], signature)
		case *rsa.PublicKey:
			valid = rsa.VerifyPKCS1v15(public, crypto.SHA256, hash[:], signature) == nil
		case ed25519.PublicKey:
			valid = ed25519.Verify(public, message, signature)
		}
		if valid {
			return key.id
		}
	}
	return ""
}

// identity checks that a key is of a kind that is used here, and returns its identity.
func identity(public crypto.PublicKey) (string, error) {
	switch key := public.(type) {
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return "", errors.New("its curve is none of P-256, P-384 and P-521")
		}
	case *rsa.PublicKey:
		if key.N.BitLen() < 2048 {
			return "", fmt.Errorf("an RSA key of %d bits is too short: 2048 are the least", key.N.BitLen())
		}
	case ed25519.PublicKey:
	default:
		return "", errors.New("it is none of ECDSA, RSA and Ed25519")
	}
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(der)
	return hex.EncodeToString(sum[:]), nil
}
