package step

import (
	"encoding/json"
	"fmt"
	"time"
)

// report is the content of REPORT_FILE.
type report struct {
	Step       string            `json:"step"`
	Version    string            `json:"version"`
	Status     string            `json:"status"`      // "done", or the kind of error: "refused", "not found", …
	ExitStatus int               `json:"exit_status"` // the program's
	Error      string            `json:"error,omitempty"`
	Side       string            `json:"side,omitempty"`
	Hint       string            `json:"hint,omitempty"`
	Started    time.Time         `json:"started"`
	Seconds    float64           `json:"seconds"`
	Results    map[string]string `json:"results,omitempty"`
	Details    any               `json:"details,omitempty"`
}

func (r report) write(rt *Runtime, path string) error {
	if path == "" {
		return nil
	}
	content, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing REPORT_FILE: %w", err)
	}
	return rt.WriteReport(path, append(content, '\n'))
}
