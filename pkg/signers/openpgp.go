package signers

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/armor"
	pgperrors "github.com/ProtonMail/go-crypto/openpgp/errors"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// strongHashes are those by which a signature binds what it is on. Two texts with one SHA-1 can be made.
var strongHashes = []crypto.Hash{
	crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA224, crypto.SHA3_256, crypto.SHA3_512,
}

func (s *Set) checkPGP(what []byte, signature string, now time.Time) (string, error) {
	block, err := armor.Decode(strings.NewReader(signature))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForm, err)
	}
	signer, err := openpgp.CheckDetachedSignatureAndHash(s.pgp, bytes.NewReader(what), block.Body, strongHashes,
		&packet.Config{Time: func() time.Time { return now }})
	if err != nil {
		return "", pgpError(err)
	}
	name := fmt.Sprintf("%X", signer.PrimaryKey.Fingerprint)
	if identity := signer.PrimaryIdentity(); identity != nil {
		name = identity.Name + " (" + name + ")"
	}
	return name, nil
}

// pgpError says in our words what the library says in several types.
func pgpError(err error) error {
	var (
		structural pgperrors.StructuralError
		wrong      pgperrors.SignatureError
	)
	switch {
	case errors.Is(err, pgperrors.ErrUnknownIssuer):
		return ErrUnknownKey
	case errors.Is(err, pgperrors.ErrKeyExpired), errors.Is(err, pgperrors.ErrSignatureExpired):
		return ErrExpired
	case errors.Is(err, pgperrors.ErrKeyRevoked):
		return ErrRevoked
	case errors.As(err, &structural) && strings.Contains(string(structural), "hash algorithm"):
		return fmt.Errorf("%w: it is made with a hash that is too weak", ErrForm)
	case errors.As(err, &wrong):
		return fmt.Errorf("%w: %w", ErrBad, err)
	}
	return fmt.Errorf("%w: %w", ErrForm, err)
}
