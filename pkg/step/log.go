package step

import (
	"io"
	"time"

	"github.com/rs/zerolog"
)

// newLog returns the logger of a run: lines for people, or one JSON object a line.
func newLog(to io.Writer, common *Common, name string) zerolog.Logger {
	if common.LogFormat == "json" {
		return zerolog.New(to).Level(common.level()).With().Timestamp().Str("step", name).Logger()
	}
	console := zerolog.ConsoleWriter{Out: to, NoColor: true, TimeFormat: time.TimeOnly}
	return zerolog.New(console).Level(common.level()).With().Timestamp().Logger()
}
