package step

import (
	"io"
	"strings"
	"time"

	"github.com/rs/zerolog"
)

// newLog returns the logger of a run: lines for people, or one JSON object a line.
func newLog(to io.Writer, common *Common, name string) zerolog.Logger {
	if common.LogFormat == "json" {
		return zerolog.New(to).Level(common.level()).With().Timestamp().Str("step", name).Logger()
	}
	console := zerolog.ConsoleWriter{Out: to, NoColor: true, TimeFormat: time.TimeOnly, FormatMessage: indented}
	return zerolog.New(console).Level(common.level()).With().Timestamp().Logger()
}

// indented sets off a message's further lines, so that none passes for a message of its own.
func indented(message any) string {
	text, _ := message.(string)
	return strings.ReplaceAll(strings.TrimRight(text, "\n"), "\n", "\n\t")
}
