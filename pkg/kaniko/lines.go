package kaniko

import (
	"bufio"
	"bytes"
	"io"
	"strings"
	"sync"
	"unicode/utf8"
)

// longestLine is what is held of a line before it is passed on in pieces, in bytes: what a RUN prints without a line end
// must not fill the memory of the process that has still to push.
const longestLine = 64 << 10

// tellOutput passes on what the RUNs print.
func (b Build) tellOutput(from io.Reader) {
	eachLine(from, func(text string, _ bool) { b.say("", text) })
}

// tellLog passes on Kaniko's own messages, "LEVEL TEXT" each.
func (b Build) tellLog(from io.Reader) {
	var level string
	eachLine(from, func(text string, goesOn bool) {
		if !goesOn {
			level, text, _ = strings.Cut(text, " ")
		}
		b.say(level, text)
	})
}

// eachLine calls tell with each line that is not empty. A carriage return ends a line too, or nothing would be seen of a
// progress bar until it is done. Of a line that is longer than longestLine, the pieces after the first go on.
func eachLine(from io.Reader, tell func(text string, goesOn bool)) {
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, longestLine)
	cut, goesOn := false, false
	lines.Split(func(data []byte, atEOF bool) (advance int, line []byte, err error) {
		if end := bytes.IndexAny(data, "\r\n"); end >= 0 {
			cut = false
			return end + 1, data[:end], nil
		}
		if cut = len(data) >= longestLine; cut {
			end := pieceOf(data)
			return end, data[:end], nil
		}
		if !atEOF || len(data) == 0 {
			return 0, nil, nil
		}
		return len(data), data, nil
	})
	for lines.Scan() {
		if text := lines.Text(); text != "" {
			tell(text, goesOn)
		}
		goesOn = cut
	}
}

// pieceOf returns how much of a line that is too long goes into one piece: up to its last blank, so that a word is found
// in one piece by who masks it, or where there is none up to the last whole character.
func pieceOf(data []byte) int {
	if blank := bytes.LastIndexAny(data, " \t"); blank >= len(data)/2 {
		return blank + 1
	}
	for back := 1; back < utf8.UTFMax; back++ {
		if end := len(data) - back; utf8.RuneStart(data[end]) {
			if !utf8.FullRune(data[end:]) {
				return end
			}
			break
		}
	}
	return len(data)
}

// said keeps the lines of a build's two outputs apart.
var said sync.Mutex

func (b Build) say(level, text string) {
	if b.Log == nil {
		return
	}
	said.Lock()
	defer said.Unlock()
	b.Log(Line{Level: level, Text: text})
}
