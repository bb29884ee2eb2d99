package step

import (
	"encoding/base64"
	"encoding/json"
	"html"
	"io"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// shortestSecret is the number of bytes below which a value is not masked: it would be found in innocent words all
// over a log, which tells it rather than hides it. Such a secret is warned about where it is read.
const shortestSecret = 4

// Masker replaces known secrets in text: as they are, in base64 (standard and URL alphabet, with and without padding,
// wherever they begin in the encoded text), URL-escaped, escaped as JSON, Go and HTML do it, and each of these without
// control characters, as cleaningWriter leaves it. A secret of several lines is also masked line by line.
//
// A long token is known by its beginning, and masked with all that follows and may belong to one. There are hundreds of
// them in a run that promotes a large set, and each would take some ten times its length in all forms, for as long as the
// run takes: a late line may tell of one that has expired, too.
type Masker struct {
	mu    sync.RWMutex
	forms []form    // beginnings, then the others; the longest first
	first [256]bool // the bytes that a form can begin with
}

// form is one in which a secret may appear, or its beginning.
type form struct {
	text   string
	begins bool
}

const (
	// longToken is the number of bytes from which a token is known by its first tokenBeginning bytes: more than anybody's
	// password has, and than a sentence has in common with a secret. Those of one service, which begin alike (a JSON Web
	// Token's header), have one beginning.
	longToken, tokenBeginning = 128, 64
)

// Add makes secrets known. Values shorter than four bytes are left out.
func (m *Masker) Add(secrets ...string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, secret := range secrets {
		m.forms = append(m.forms, forms(secret)...)
	}
	slices.SortFunc(m.forms, func(a, b form) int {
		switch {
		case a.begins != b.begins && a.begins:
			return -1
		case a.begins != b.begins:
			return 1
		case len(a.text) != len(b.text):
			return len(b.text) - len(a.text)
		}
		return strings.Compare(a.text, b.text)
	})
	m.forms = slices.Compact(m.forms)
	for _, form := range m.forms {
		m.first[form.text[0]] = true
	}
}

// Mask returns text with each known secret replaced by [MASKED].
func (m *Masker) Mask(text string) string {
	masked, rest, _ := m.replace([]byte(text), true, false)
	return string(append(masked, rest...))
}

// Writer returns a writer that masks what is written through it, whatever chunks it comes in: an end of a chunk that
// may be the beginning of a secret waits for the next chunk, or for Close. Close does not close w.
func (m *Masker) Writer(w io.Writer) io.WriteCloser { return &maskingWriter{masker: m, to: w} }

type maskingWriter struct {
	masker *Masker
	to     io.Writer
	mu     sync.Mutex
	held   []byte
	within bool // a token, whose beginning has been masked
}

func (w *maskingWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, rest, within := w.masker.replace(append(w.held, p...), false, w.within)
	w.held, w.within = append([]byte(nil), rest...), within
	if len(out) > 0 {
		if _, err := w.to.Write(out); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}

func (w *maskingWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, _, _ := w.masker.replace(w.held, true, w.within)
	w.held, w.within = nil, false
	if len(out) == 0 {
		return nil
	}
	_, err := w.to.Write(out)
	return err
}

// replace masks data and returns what can be written now and what must wait, because more bytes could make a secret
// of it, or a longer one. With final set nothing waits. Within says that data goes on with a token whose beginning was
// masked, and goesOn that what follows may.
func (m *Masker) replace(data []byte, final, within bool) (out, rest []byte, goesOn bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if len(m.forms) == 0 {
		return data, nil, false
	}
	text := string(data)
	out = make([]byte, 0, len(data))
next:
	for i := 0; i < len(text); {
		if within && inToken(text[i]) {
			i++
			continue
		}
		within = false
		if !m.first[text[i]] {
			out = append(out, text[i])
			i++
			continue
		}
		tail := text[i:]
		for _, form := range m.forms {
			if strings.HasPrefix(tail, form.text) {
				out = append(out, hidden...)
				i += len(form.text)
				within = form.begins
				continue next
			}
			if !final && len(form.text) > len(tail) && strings.HasPrefix(form.text, tail) {
				return out, []byte(tail), false
			}
		}
		out = append(out, text[i])
		i++
	}
	return out, nil, within
}

// inToken tells whether a byte can be part of a token (RFC 6750, "b64token"), as it is, in base64 or URL-escaped.
func inToken(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~+/=%", c) >= 0
}

// isLongToken tells whether a secret is known by its beginning.
func isLongToken(secret string) bool {
	return len(secret) >= longToken && !strings.ContainsFunc(secret, func(r rune) bool { return r > 127 || !inToken(byte(r)) })
}

// forms returns every form that a secret may appear in.
func forms(secret string) []form {
	var all []form
	for _, plain := range parts(secret) {
		begins := isLongToken(plain)
		if begins {
			plain = strings.Clone(plain[:tokenBeginning]) // which does not hold the rest
		}
		for _, text := range textForms(plain, begins) {
			if len(text) >= shortestSecret {
				all = append(all, form{text, begins})
			}
		}
	}
	return all
}

// textForms returns the forms of a secret, or of what it begins with: then more follows in all of them.
func textForms(plain string, begins bool) []string {
	all := []string{plain, html.EscapeString(plain), quoted(strconv.Quote(plain))}
	for _, escaped := range []string{
		url.QueryEscape(plain), url.PathEscape(plain), strings.TrimPrefix(url.UserPassword("", plain).String(), ":"),
	} {
		all = append(all, escaped, lowerHex(escaped))
	}
	all = append(all, jsonForms(plain)...)
	all = append(all, base64Forms(plain, begins)...)
	for _, form := range slices.Clone(all) {
		for _, json := range []bool{false, true} {
			cleaned, _ := clean([]byte(form), json, true)
			all = append(all, string(cleaned))
		}
	}
	return all
}

// parts returns the secret, and its lines where there are several. Lines of under eight bytes, such as the braces of
// a JSON key, would mask too much.
func parts(secret string) []string {
	whole := strings.TrimSpace(secret)
	if len(whole) < shortestSecret {
		return nil
	}
	all := []string{whole}
	if whole != secret {
		all = append(all, secret)
	}
	if strings.ContainsAny(whole, "\r\n") {
		for line := range strings.Lines(whole) {
			if line = strings.TrimSpace(line); len(line) >= 8 && !strings.HasPrefix(line, "-----") {
				all = append(all, line)
			}
		}
	}
	return all
}

func jsonForms(plain string) []string {
	escaped, _ := json.Marshal(plain) // a string can always be marshalled
	var bare strings.Builder
	encoder := json.NewEncoder(&bare)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(plain)
	return []string{quoted(string(escaped)), quoted(strings.TrimSpace(bare.String()))}
}

// base64Forms returns the encodings of plain, and for each of the three places at which it can begin in a group of
// three bytes the characters that depend on plain alone. Where more follows, the first would be wrong at its end.
func base64Forms(plain string, begins bool) []string {
	var all []string
	for _, alphabet := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		if !begins {
			all = append(all, alphabet.EncodeToString([]byte(plain)))
		}
		raw := alphabet.WithPadding(base64.NoPadding)
		for before := range 3 {
			encoded := raw.EncodeToString(append(make([]byte, before), plain...))
			first := []int{0, 2, 3}[before]
			last := len(encoded)
			if (before+len(plain))%3 != 0 {
				last--
			}
			if last-first > shortestSecret {
				all = append(all, encoded[first:last])
			}
		}
	}
	return all
}

func quoted(s string) string { return strings.TrimSuffix(strings.TrimPrefix(s, `"`), `"`) }

// lowerHex turns the %XX of a URL-escaped text into %xx, as some encoders write it.
func lowerHex(escaped string) string {
	b := []byte(escaped)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:i+3], strings.ToLower(string(b[i+1:i+3])))
		}
	}
	return string(b)
}
