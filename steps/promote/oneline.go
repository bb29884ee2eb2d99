package promote

import (
	"strings"
	"unicode"
)

// oneLine returns a text on one line, of what prints alone, and cut: labels and platforms are written by whoever pushed
// the image.
func oneLine(text string, longest int) string {
	text = strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1
		}
		return r
	}, text)), " ")
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}
