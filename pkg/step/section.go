package step

import (
	"fmt"
	"io"
	"time"
)

// sections writes GitLab's collapsible sections (docs.gitlab.com, "Job logs", "Custom collapsible sections").
type sections struct {
	enabled bool
	to      io.Writer
	now     func() time.Time
}

func (s *sections) start(name, header string) (end func()) {
	if !s.enabled {
		return func() {}
	}
	fmt.Fprintf(s.to, "\x1b[0Ksection_start:%d:%s[collapsed=true]\r\x1b[0K%s\n", s.now().Unix(), name, cleanLine(header))
	return func() {
		fmt.Fprintf(s.to, "\x1b[0Ksection_end:%d:%s\r\x1b[0K\n", s.now().Unix(), name)
	}
}
