package step

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"runtime"
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

// longTokens are such as token services give: those of the first kind begin alike, those of the second do not.
func longTokens(n, length int) (alike, apart []string) {
	random := rand.NewChaCha8([32]byte{})
	text := func(bytes int) string {
		raw := make([]byte, bytes*3/4)
		_, _ = random.Read(raw)
		return base64.RawURLEncoding.EncodeToString(raw)
	}
	header := "eyJ0eXAiOiJKV1QiLCJhbGciOiJSUzI1NiIsImtpZCI6IkFCQ0Q6RUZHSCJ9.eyJpc3MiOiJnaXRsYWIuZXhhbXBsZS5jb20iLCJzdWIi"
	for range n {
		alike, apart = append(alike, header+text(length-len(header)-300)+"."+text(300)), append(apart, text(length))
	}
	return alike, apart
}

// TestLongTokensTakeLittleRoom has the tokens of a set of 200 images: some 600, which stay known to the end. It is not
// parallel to others, whose memory would count.
func TestLongTokensTakeLittleRoom(t *testing.T) {
	const n, length, most = 600, 2000, 1500
	alike, apart := longTokens(n, length)
	for name, tokens := range map[string][]string{"begin alike": alike, "begin apart": apart} {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		masker := &Masker{}
		for _, token := range tokens {
			masker.Add(token)
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		kept := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / n
		t.Logf("%s: %d bytes are kept of a token of %d", name, kept, length)
		if kept > most {
			t.Errorf("%s: %d bytes are kept of a token of %d, at most %d are in order", name, kept, length, most)
		}
		runtime.KeepAlive(masker)
	}
	runtime.KeepAlive(alike)
	runtime.KeepAlive(apart)
}

// TestLongTokensAreMaskedInEveryForm, as a whole.
func TestLongTokensAreMaskedInEveryForm(t *testing.T) {
	t.Parallel()
	alike, apart := longTokens(2, 1001)
	for _, token := range []string{alike[0], apart[0], strings.Repeat("a+/b~c.d", 30) + "=="} {
		masker := &Masker{}
		masker.Add(token, token[:100]) // what is shorter must not have the rest shown
		for name, form := range map[string]string{
			"plain": token, "a part": token[:70], "query-escaped": url.QueryEscape(token), "path-escaped": url.PathEscape(token),
			"base64": base64.StdEncoding.EncodeToString([]byte(token)), "base64, URL alphabet": base64.RawURLEncoding.EncodeToString([]byte(token)),
		} {
			for size := 1; size < 300; size += 7 {
				var out bytes.Buffer
				w := masker.Writer(&out)
				for rest := `{"token":"` + form + `","more":"` + form + `"} and more`; rest != ""; {
					n := min(size, len(rest))
					_, _ = w.Write([]byte(rest[:n]))
					rest = rest[n:]
				}
				_ = w.Close()
				if got, want := out.String(), `{"token":"[MASKED]","more":"[MASKED]"} and more`; got != want {
					t.Fatalf("%s, in chunks of %d: %q", name, size, got)
				}
			}
		}
		for before := range 3 {
			encoded := base64.StdEncoding.EncodeToString([]byte(strings.Repeat("u", before) + token + ":x"))
			if got := masker.Mask(encoded); len(got) > len("[MASKED]")+before+3 {
				t.Errorf("in base64, after %d bytes: %q", before, got)
			}
		}
		if got := masker.Mask(token[:60] + " and " + strings.Repeat("x", 200)); strings.Contains(got, hidden) {
			t.Errorf("what is no token is masked: %q", got)
		}
	}
}
