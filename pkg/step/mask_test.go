package step

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"strings"
	"testing"
)

const password = `p+s/s w"ör&d<é>%`

func TestMaskerReplacesEveryForm(t *testing.T) {
	t.Parallel()
	escaped, err := json.Marshal(password)
	if err != nil {
		t.Fatal(err)
	}
	for name, form := range map[string]string{
		"plain":                 password,
		"base64":                base64.StdEncoding.EncodeToString([]byte(password)),
		"base64, URL alphabet":  base64.URLEncoding.EncodeToString([]byte(password)),
		"base64, no padding":    base64.RawURLEncoding.EncodeToString([]byte(password)),
		"query-escaped":         url.QueryEscape(password),
		"path-escaped":          url.PathEscape(password),
		"path-escaped in lower": lowerHex(url.PathEscape(password)),
		"JSON":                  string(escaped),
		"Go":                    fmt.Sprintf("%q", password),
		"HTML":                  html.EscapeString(password),
		"in an address":         (&url.URL{Scheme: "https", Host: "h", User: url.UserPassword("u", password)}).String(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			masker := &Masker{}
			masker.Add(password)
			got := masker.Mask("before " + form + " after")
			if strings.Contains(got, form) || !strings.Contains(got, hidden) {
				t.Errorf("%q was masked to %q", form, got)
			}
			if !strings.HasPrefix(got, "before ") || !strings.HasSuffix(got, " after") {
				t.Errorf("more than the secret was masked: %q", got)
			}
		})
	}
}

func TestMaskerFindsASecretInsideBase64(t *testing.T) {
	t.Parallel()
	const secret = "correct-horse-battery"
	masker := &Masker{}
	masker.Add(secret)
	for before := range 7 {
		text := strings.Repeat("u", before) + ":" + secret + ":rest"
		got := masker.Mask(base64.StdEncoding.EncodeToString([]byte(text)))
		if !strings.Contains(got, hidden) {
			t.Errorf("with %d bytes before it, the secret shows in %q", before, got)
		}
	}
}

func TestMaskingWriterInWhateverChunks(t *testing.T) {
	t.Parallel()
	const secret, text = "sup3rs3cret", "a sup3rs3cret, sup3rs3cre, sup3sup3rs3cret and sup3rs3cret"
	want := "a [MASKED], sup3rs3cre, sup3[MASKED] and [MASKED]"
	for size := 1; size <= len(text); size++ {
		var out bytes.Buffer
		masker := &Masker{}
		masker.Add(secret)
		w := masker.Writer(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			if written, err := w.Write([]byte(rest[:n])); err != nil || written != n {
				t.Fatalf("writing %d bytes: %d, %v", n, written, err)
			}
			rest = rest[n:]
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); got != want {
			t.Errorf("in chunks of %d: got %q, want %q", size, got, want)
		}
	}
}

func TestMaskerPrefersTheLongerOfTwoSecrets(t *testing.T) {
	t.Parallel()
	masker := &Masker{}
	masker.Add("token", "token-and-more")
	if got := masker.Mask("token-and-more token"); got != "[MASKED] [MASKED]" {
		t.Errorf("got %q", got)
	}
}

func TestMaskerMasksEachLineOfAKey(t *testing.T) {
	t.Parallel()
	masker := &Masker{}
	masker.Add("-----BEGIN KEY-----\nb3BlbnNzaC1rZXktdjEA\nAAAABG5vbmUAAAAEbm9u\n-----END KEY-----\n")
	got := masker.Mask("the line b3BlbnNzaC1rZXktdjEA of it")
	if got != "the line [MASKED] of it" {
		t.Errorf("got %q", got)
	}
}

func FuzzMaskingWriterEqualsMask(f *testing.F) {
	f.Add("secret", "a secret in secretsecret", 3)
	f.Add("aaaa", "aaaaaaaaaaa", 1)
	f.Fuzz(func(t *testing.T, secret, text string, size int) {
		if size < 1 {
			t.Skip()
		}
		masker := &Masker{}
		masker.Add(secret)
		var out bytes.Buffer
		w := masker.Writer(&out)
		for rest := text; rest != ""; {
			n := min(size, len(rest))
			_, _ = w.Write([]byte(rest[:n]))
			rest = rest[n:]
		}
		_ = w.Close()
		if got, want := out.String(), masker.Mask(text); got != want {
			t.Errorf("in chunks of %d: got %q, want %q", size, got, want)
		}
	})
}
