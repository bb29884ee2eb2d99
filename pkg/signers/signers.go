// Package signers holds the keys whose owners may sign commits and tags, and checks a signature of Git's against them:
// OpenPGP's (gpg) and SSH's (ssh-keygen -Y sign).
//
// A key must be valid at the time of the check. The time that a commit or a tag tells is its author's own word, so a key
// that has expired could make a new commit look old.
package signers

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
)

// Set is a set of keys. The zero value holds none, and so no signature is good.
type Set struct {
	pgp openpgp.EntityList
	ssh []sshKey
}

// Parse reads public keys: blocks of armored OpenPGP keys, and lines of an allowed_signers file (ssh-keygen(1), "ALLOWED
// SIGNERS"), one kind or both. An error tells the line, and so does a text without a key.
func Parse(text []byte) (*Set, error) {
	set := &Set{}
	var lines []string
	rest := string(text)
	for number := 1; rest != ""; {
		line, after, _ := strings.Cut(rest, "\n")
		if !strings.HasPrefix(strings.TrimSpace(line), "-----BEGIN ") {
			lines, rest = append(lines, line), after
			number++
			continue
		}
		block, after, ended := cutBlock(rest)
		if !ended {
			return nil, fmt.Errorf("line %d: the block that begins there has no end", number)
		}
		keys, err := openpgp.ReadArmoredKeyRing(strings.NewReader(block))
		if err != nil {
			return nil, fmt.Errorf("line %d: the block that begins there is no armored OpenPGP key: %w", number, err)
		}
		for _, key := range keys {
			if key.PrivateKey != nil {
				return nil, fmt.Errorf("line %d: this is a private key, and only the public one belongs there", number)
			}
		}
		set.pgp = append(set.pgp, keys...)
		skipped := strings.Count(block, "\n")
		lines, rest = append(lines, make([]string, skipped)...), after
		number += skipped
	}
	for index, line := range lines {
		key, err := parseAllowedSigner(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", index+1, err)
		}
		if key != nil {
			set.ssh = append(set.ssh, *key)
		}
	}
	if len(set.pgp)+len(set.ssh) == 0 {
		return nil, errors.New("there is no key in it")
	}
	return set, nil
}

// cutBlock cuts an armored block off the beginning of a text, up to the end of the line that ends it.
func cutBlock(text string) (block, rest string, ended bool) {
	end := strings.Index(text, "\n-----END ")
	if end < 0 {
		return "", "", false
	}
	stop := len(text)
	if newline := strings.IndexByte(text[end+1:], '\n'); newline >= 0 {
		stop = end + 1 + newline + 1
	}
	return text[:stop], text[stop:], true
}

// The ways in which a signature is not good.
var (
	ErrUnsigned   = errors.New("it is not signed")
	ErrUnknownKey = errors.New("the key that it is signed with is none of those given")
	ErrExpired    = errors.New("the key that it is signed with, or the signature, has expired")
	ErrRevoked    = errors.New("the key that it is signed with was revoked")
	ErrBad        = errors.New("the signature does not fit what it is on")
	ErrForm       = errors.New("the signature is of an unknown form")
)

// Check returns who signed what, when the signature is good: an OpenPGP user and the key's fingerprint, or the principals
// of an allowed_signers line and the key's. Else the error has one of those above in its chain.
func (s *Set) Check(what []byte, signature string, now time.Time) (signer string, err error) {
	signature = strings.TrimSpace(signature)
	switch {
	case signature == "":
		return "", ErrUnsigned
	case strings.Count("\n"+signature, "\n-----BEGIN ") != 1:
		return "", fmt.Errorf("%w: it is not one block", ErrForm)
	case strings.HasPrefix(signature, "-----BEGIN PGP SIGNATURE-----"):
		return s.checkPGP(what, signature, now)
	case strings.HasPrefix(signature, "-----BEGIN SSH SIGNATURE-----"):
		return s.checkSSH(what, signature, now)
	}
	kind, _, _ := bytes.Cut([]byte(signature), []byte("\n"))
	return "", fmt.Errorf("%w: %.60q", ErrForm, kind)
}
