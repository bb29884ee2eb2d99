package signers

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
)

// namespace is what Git signs in (gpg-interface.c), so that a signature on a file is none on a commit.
const namespace = "git"

// sshKey is a line of an allowed_signers file.
type sshKey struct {
	principals string
	key        ssh.PublicKey
	namespaces []string // patterns; none means any
	from, to   time.Time
}

// parseAllowedSigner reads PRINCIPALS [OPTIONS] TYPE KEY [COMMENT]. A blank line or a comment gives nil.
func parseAllowedSigner(line string) (*sshKey, error) {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil, nil
	}
	principals, rest, err := cutPrincipals(line)
	if err != nil {
		return nil, err
	}
	key, _, options, _, err := ssh.ParseAuthorizedKey([]byte(rest)) // which has the same form
	if err != nil {
		return nil, errors.New("it is no line of an allowed_signers file: PRINCIPALS [OPTIONS] TYPE KEY")
	}
	if _, certificate := key.(*ssh.Certificate); certificate {
		return nil, errors.New("it holds a certificate, and a key is wanted")
	}
	out := &sshKey{principals: principals, key: key}
	for _, option := range options {
		if err := out.option(option); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func cutPrincipals(line string) (principals, rest string, err error) {
	if quoted, ok := strings.CutPrefix(line, `"`); ok {
		principals, rest, ok = strings.Cut(quoted, `"`)
		if !ok {
			return "", "", errors.New("a quotation mark is missing")
		}
	} else {
		principals, rest, _ = strings.Cut(strings.ReplaceAll(line, "\t", " "), " ")
	}
	if rest = strings.TrimSpace(rest); rest == "" {
		return "", "", errors.New("it is no line of an allowed_signers file: PRINCIPALS [OPTIONS] TYPE KEY")
	}
	return principals, rest, nil
}

// option notes one option. One that is unknown may narrow what the key is good for, and so is refused.
func (k *sshKey) option(text string) (err error) {
	name, value, _ := strings.Cut(text, "=")
	value = strings.Trim(value, `"`)
	switch strings.ToLower(name) {
	case "namespaces":
		k.namespaces = strings.Split(value, ",")
	case "valid-after":
		k.from, err = parseTime(value)
	case "valid-before":
		k.to, err = parseTime(value)
	case "cert-authority":
		return errors.New("certificate authorities are not supported: give the signers' own keys")
	default:
		return fmt.Errorf("the option %q is unknown", name)
	}
	return err
}

// parseTime reads YYYYMMDD[HHMM[SS]][Z]: without the Z it is this machine's local time, as for OpenSSH.
func parseTime(text string) (time.Time, error) {
	zone := time.Local
	if digits, utc := strings.CutSuffix(text, "Z"); utc {
		text, zone = digits, time.UTC
	}
	for _, form := range []string{"20060102", "200601021504", "20060102150405"} {
		if len(text) == len(form) {
			if parsed, err := time.ParseInLocation(form, text, zone); err == nil {
				return parsed, nil
			}
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC", text)
}

func (s *Set) checkSSH(what []byte, signature string, now time.Time) (string, error) {
	read, err := sshsig.Unarmor([]byte(signature))
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrForm, err)
	}
	refused := ErrUnknownKey
	for _, known := range s.ssh {
		if !bytes.Equal(known.key.Marshal(), read.PublicKey.Marshal()) {
			continue
		}
		if err := known.allows(now); err != nil {
			refused = err // another line may allow it
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(what), read, known.key, read.HashAlgorithm, namespace); err != nil {
			return "", fmt.Errorf("%w: %w", ErrBad, err)
		}
		return known.principals + " (" + ssh.FingerprintSHA256(known.key) + ")", nil
	}
	return "", refused
}

// allows says whether the line allows to sign for Git now.
func (k *sshKey) allows(now time.Time) error {
	switch {
	case !k.from.IsZero() && now.Before(k.from):
		return fmt.Errorf("%w: valid from %s on", ErrExpired, k.from.UTC().Format(time.RFC3339))
	case !k.to.IsZero() && !now.Before(k.to):
		return fmt.Errorf("%w: valid until %s", ErrExpired, k.to.UTC().Format(time.RFC3339))
	case len(k.namespaces) > 0 && !k.inNamespace():
		return fmt.Errorf("%w: it is for other namespaces than %q", ErrUnknownKey, namespace)
	}
	return nil
}

// inNamespace matches patterns as OpenSSH does: one that begins with "!" forbids, whatever the others say.
func (k *sshKey) inNamespace() bool {
	allowed := false
	for _, pattern := range k.namespaces {
		pattern, forbids := strings.CutPrefix(strings.TrimSpace(pattern), "!")
		if matched, err := path.Match(pattern, namespace); err == nil && matched {
			if forbids {
				return false
			}
			allowed = true
		}
	}
	return allowed
}
