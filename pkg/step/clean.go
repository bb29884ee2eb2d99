package step

import (
	"bytes"
	"io"
	"regexp"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"
)

// cleaningWriter keeps text that others wrote (an image's labels, the cluster's messages, what a RUN prints) from moving
// the cursor over what was said before it, hiding itself, or passing for a CI system's marks: control characters other
// than line ends and tabs are replaced, colours are left out. Close flushes the end, and closes to.
//
// It comes before the mask, so that a secret with a colour in its midst is found when that is gone. Of a secret that
// holds such characters itself, the mask knows the form that they leave, too.
type cleaningWriter struct {
	to   io.WriteCloser
	json bool // what is written is JSON, which escapes the characters

	mu   sync.Mutex
	held []byte // the beginning of what may become a character or a colour
}

func (w *cleaningWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, rest := clean(append(w.held, p...), w.json, false)
	w.held = bytes.Clone(rest)
	if _, err := w.to.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (w *cleaningWriter) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	out, _ := clean(w.held, w.json, true)
	w.held = nil
	_, err := w.to.Write(out)
	if closed := w.to.Close(); err == nil {
		err = closed
	}
	return err
}

// cleanLine returns text on one line, without control characters.
func cleanLine(text string) string {
	out, _ := clean([]byte(text), false, true)
	return strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(string(out)))
}

// clean returns what can be written now, and what must wait for more. With final set nothing waits.
func clean(data []byte, json, final bool) (out, rest []byte) {
	out = make([]byte, 0, len(data))
	for len(data) > 0 {
		if json && data[0] == '\\' {
			plain, size := unescape(data)
			if size == 0 && !final {
				return out, data
			}
			if out = append(out, plain...); size == 0 {
				return out, nil
			}
			data = data[size:]
			continue
		}
		if data[0] == '\x1b' {
			if colour := colours.Find(data); colour != nil {
				data = data[len(colour):]
				continue
			}
			if !final && colourBegins.Match(data) {
				return out, data
			}
		}
		if !final && !utf8.FullRune(data) {
			return out, data
		}
		r, size := utf8.DecodeRune(data)
		out = utf8.AppendRune(out, shown(r))
		data = data[size:]
	}
	return out, nil
}

// shown returns the character that stands for r.
func shown(r rune) rune {
	switch {
	case r == '\n' || r == '\t' || unicode.IsGraphic(r):
		return r
	case r == '\r':
		return ' '
	}
	return utf8.RuneError
}

// unescape returns the escape sequence of JSON that data begins with, or another where that is of a control character,
// and its length, 0 where it is not whole.
func unescape(data []byte) (plain []byte, size int) {
	if len(data) < 2 {
		return nil, 0
	}
	switch data[1] {
	case 'r':
		return []byte(" "), 2
	case 'b', 'f':
		return []byte(string(utf8.RuneError)), 2
	case 'u':
		if len(data) < 6 {
			return nil, 0
		}
		if escapedControl.Match(data[:6]) {
			return []byte(string(utf8.RuneError)), 6
		}
		return data[:6], 6
	}
	return data[:2], 2
}

var (
	// colours are the sequences "Select Graphic Rendition" (ECMA-48, 8.3.117), which build tools print all the time.
	colours      = regexp.MustCompile(`^\x1b\[[0-9;]{0,30}m`)
	colourBegins = regexp.MustCompile(`^\x1b(?:\[[0-9;]{0,30})?$`)

	// escapedControl matches what JSON encoders escape of the control characters: C0 without line end and tab, and DEL.
	escapedControl = regexp.MustCompile(`^\\u00(?:0[0-8b-fB-F]|1[0-9a-fA-F]|7[fF])$`)
)
