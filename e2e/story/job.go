package story

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Job is one run of a step, as a pipeline orders it.
type Job struct {
	Step        string            // the program's name
	Environment map[string]string // all that it is told
	Files       map[string]string // path in the container → content
}

// Outcome is what a run of a step leaves behind.
type Outcome struct {
	Step    string
	Status  int
	Results map[string]string // Tekton's: the files in the folder of results
	Stdout  string
	Stderr  string
	Took    time.Duration
}

// LastLine is the last line of the log.
func (o *Outcome) LastLine() string {
	lines := strings.Split(strings.TrimSpace(o.Stderr), "\n")
	return lines[len(lines)-1]
}

// Runner runs jobs, each in a container of its own. An error means that the step could not be run at all.
type Runner interface {
	Run(ctx context.Context, job Job) (*Outcome, error)
}

// resultsDir is where a step finds the folder for its results.
const resultsDir = "/results"

// readResults reads the results that a step left in a folder.
func readResults(dir string) (map[string]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	results := map[string]string{}
	for _, entry := range entries {
		text, err := os.ReadFile(filepath.Join(dir, entry.Name())) //nolint:gosec // a folder of our own
		if err != nil {
			return nil, err
		}
		results[entry.Name()] = string(text)
	}
	return results, nil
}
