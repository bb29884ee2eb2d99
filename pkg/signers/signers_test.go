package signers_test

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"dockline/e2e/gitserver"
	"dockline/pkg/signers"
)

const day = 24 * time.Hour

// now is the time of all checks.
var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

func openPGP(t *testing.T, made time.Time, lives time.Duration) *gitserver.Signer {
	t.Helper()
	signer, err := gitserver.OpenPGP("release@example.com", made, lives)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func ssh(t *testing.T, principal, namespace string) *gitserver.Signer {
	t.Helper()
	signer, err := gitserver.SSH(principal, namespace)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func sign(t *testing.T, by *gitserver.Signer, text string) string {
	t.Helper()
	signature, err := by.Sign([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// with puts options between the principal and the key of a line.
func with(options, line string) string { return strings.Replace(line, " ", " "+options+" ", 1) }

func TestCheck(t *testing.T) {
	t.Parallel()
	const text = "tree 0\n\nSay hello\n"
	pgp, otherPGP := openPGP(t, now.Add(-day), 0), openPGP(t, now.Add(-day), 0)
	expired, future := openPGP(t, now.Add(-10*day), 5*day), openPGP(t, now.Add(day), 0)
	key, otherKey := ssh(t, "release@example.com", "git"), ssh(t, "other@example.com", "git")
	file := ssh(t, "file@example.com", "file")

	for _, test := range []struct {
		description     string
		keys, signature string
		signer          string // its beginning
		err             error
	}{
		{"OpenPGP", pgp.Public, sign(t, pgp, text), "Release Manager <release@example.com> (", nil},
		{"OpenPGP, among others", otherPGP.Public + key.Public + pgp.Public, sign(t, pgp, text), "Release Manager <release@example.com> (", nil},
		{"SSH", key.Public, sign(t, key, text), "release@example.com (SHA256:", nil},
		{"SSH, after a comment and a key of OpenPGP", "# ours\n\n" + pgp.Public + key.Public, sign(t, key, text), "release@example.com (SHA256:", nil},
		{"SSH, in time", with(`valid-after="20260101",valid-before="20270101Z"`, key.Public), sign(t, key, text), "release@example.com (", nil},
		{"SSH, for Git", with(`namespaces="file,g*"`, key.Public), sign(t, key, text), "release@example.com (", nil},
		{"SSH, principals in quotation marks", `"a b" ` + strings.SplitN(key.Public, " ", 2)[1], sign(t, key, text), "a b (", nil},
		{"SSH, a second line that is valid", with(`valid-before="20250101"`, key.Public) + key.Public, sign(t, key, text), "release@example.com (", nil},

		{"no signature", pgp.Public, " \n", "", signers.ErrUnsigned},
		{"another text, OpenPGP", pgp.Public, sign(t, pgp, text+"x"), "", signers.ErrBad},
		{"another text, SSH", key.Public, sign(t, key, text+"x"), "", signers.ErrBad},
		{"an unknown key, OpenPGP", otherPGP.Public + key.Public, sign(t, pgp, text), "", signers.ErrUnknownKey},
		{"an unknown key, SSH", otherKey.Public + pgp.Public, sign(t, key, text), "", signers.ErrUnknownKey},
		{"an expired key, OpenPGP", expired.Public, sign(t, expired, text), "", signers.ErrExpired},
		{"a key of tomorrow, OpenPGP", future.Public, sign(t, future, text), "", signers.ErrExpired},
		{"an expired key, SSH", with(`valid-before="20260601Z"`, key.Public), sign(t, key, text), "", signers.ErrExpired},
		{"a key of tomorrow, SSH", with(`valid-after="202606010001Z"`, key.Public), sign(t, key, text), "", signers.ErrExpired},
		{"a key for files", with(`namespaces="file"`, key.Public), sign(t, key, text), "", signers.ErrUnknownKey},
		{"a key not for Git", with(`namespaces="*,!git"`, key.Public), sign(t, key, text), "", signers.ErrUnknownKey},
		{"a signature on a file", file.Public, sign(t, file, text), "", signers.ErrBad},
		{"two signatures", pgp.Public, sign(t, pgp, text) + sign(t, pgp, text), "", signers.ErrForm},
		{"two signatures of two kinds", pgp.Public + key.Public, sign(t, key, text) + sign(t, pgp, text), "", signers.ErrForm},
		{"S/MIME", pgp.Public, "-----BEGIN SIGNED MESSAGE-----\nx\n-----END SIGNED MESSAGE-----\n", "", signers.ErrForm},
		{"a block of nothing, OpenPGP", pgp.Public, "-----BEGIN PGP SIGNATURE-----\n\n-----END PGP SIGNATURE-----\n", "", signers.ErrUnknownKey},
		{"a block of nothing, SSH", key.Public, "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n", "", signers.ErrForm},
		{"half a block", pgp.Public, sign(t, pgp, text)[:80], "", signers.ErrForm},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			keys, err := signers.Parse([]byte(test.keys))
			if err != nil {
				t.Fatal(err)
			}
			signer, err := keys.Check([]byte(text), test.signature, now)
			if !errors.Is(err, test.err) || (test.err == nil) != (err == nil) {
				t.Errorf("error is %v, want %v", err, test.err)
			}
			if !strings.HasPrefix(signer, test.signer) || (test.signer == "") != (signer == "") {
				t.Errorf("signer is %q, want %q", signer, test.signer)
			}
		})
	}

	var none signers.Set
	if _, err := none.Check([]byte(text), sign(t, key, text), now); !errors.Is(err, signers.ErrUnknownKey) {
		t.Errorf("with no keys: %v", err)
	}
}

func TestParse(t *testing.T) {
	t.Parallel()
	pgp, key := openPGP(t, now, 0), ssh(t, "a@example.com", "git")
	lines := strings.Count(pgp.Public, "\n")
	for _, test := range []struct{ description, text, refused string }{
		{"nothing", "", "there is no key"},
		{"comments", "# nobody\n\n", "there is no key"},
		{"a word", "hello", "line 1: it is no line of an allowed_signers file"},
		{"a key without a principal", strings.SplitN(key.Public, " ", 2)[1], "line 1: it is no line"},
		{"a broken line after a block", pgp.Public + "hello x\n", "line " + strconv.Itoa(lines+1) + ": it is no line"},
		{"a block without an end", "# x\n-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nabc\n", "line 2: the block that begins there has no end"},
		{"another block", "-----BEGIN CERTIFICATE-----\nabc\n-----END CERTIFICATE-----\n", "line 1: the block that begins there is no armored OpenPGP key"},
		{"an authority", with("cert-authority", key.Public), "line 1: certificate authorities are not supported"},
		{"an unknown option", with("no-touch-required", key.Public), `line 1: the option "no-touch-required" is unknown`},
		{"no time", with(`valid-before="soon"`, key.Public), `line 1: "soon" is no time`},
		{"a quotation mark", `"a ` + key.Public, "line 1: a quotation mark is missing"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			if _, err := signers.Parse([]byte(test.text)); err == nil || !strings.Contains(err.Error(), test.refused) {
				t.Errorf("error is %v, want one with %q", err, test.refused)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add("a@example.com ssh-ed25519 AAAA")
	f.Add("-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n=x\n-----END PGP PUBLIC KEY BLOCK-----")
	f.Add(`"a" namespaces="git",valid-after="20260101Z" ssh-ed25519 AAAA`)
	f.Fuzz(func(t *testing.T, text string) {
		keys, err := signers.Parse([]byte(text))
		if err != nil {
			return
		}
		if signer, err := keys.Check([]byte(text), text, now); err == nil {
			t.Errorf("%q signs itself, as %q", text, signer)
		}
	})
}
