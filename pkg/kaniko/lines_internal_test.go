package kaniko

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestALineWithoutEndIsNotHeld: what a RUN prints without a line end comes in pieces, of which none is large.
func TestALineWithoutEndIsNotHeld(t *testing.T) {
	t.Parallel()
	const size = 32 << 20
	endless := io.LimitReader(endlessly("\x00"), size)
	largest, total, previous := 0, 0, 0
	Build{Log: func(line Line) {
		largest, total = max(largest, len(line.Text)), total+len(line.Text)
		if read := size - int(endless.(*io.LimitedReader).N); read-previous > 4*longestLine { //nolint:errcheck // it is one
			t.Errorf("%d bytes were read before a line was told", read-previous)
		}
		previous = size - int(endless.(*io.LimitedReader).N) //nolint:errcheck // likewise
	}}.tellOutput(endless)
	if largest > longestLine || total != size {
		t.Errorf("the largest piece has %d bytes, all have %d; want at most %d, and %d", largest, total, longestLine, size)
	}
}

// endlessly is a reader that repeats a text.
type endlessly string

func (e endlessly) Read(p []byte) (int, error) {
	n := 0
	for n < len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

func TestLines(t *testing.T) {
	t.Parallel()
	words := strings.Repeat("word ", longestLine/5+10)
	wide := strings.Repeat("a", longestLine-1) + "é"
	for _, row := range []struct {
		description, output string
		want                []string
	}{
		{"lines", "one\n\ntwo\r\nthree", []string{"one", "two", "three"}},
		{"a progress bar", " 10%\r 90%\r100%\ndone\n", []string{" 10%", " 90%", "100%", "done"}},
		{"a long line is cut between words", words, []string{words[:longestLine/5*5], words[longestLine/5*5:]}},
		{"a character is not cut", wide, []string{wide[:longestLine-1], "é"}},
		{"what is no text at all", "\xff\xfe\n", []string{"\xff\xfe"}},
		{"nothing", "", nil},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			var got []string
			Build{Log: func(line Line) { got = append(got, line.Text) }}.tellOutput(strings.NewReader(row.output))
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("lines (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPieceOfAMessageKeepsItsLevel(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("word ", longestLine/5+10)
	var got []string
	Build{Log: func(line Line) { got = append(got, line.Level) }}.
		tellLog(strings.NewReader("warning " + long + "\ninfo short\n"))
	if diff := cmp.Diff([]string{"warning", "warning", "info"}, got); diff != "" {
		t.Errorf("levels (-want +got):\n%s", diff)
	}
}
