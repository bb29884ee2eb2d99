package step

import (
	"errors"
	"os"
	"slices"
	"strings"

	"github.com/rs/zerolog"

	"dockline/pkg/fault"
)

// tektonResults is where Tekton expects a step's results.
const tektonResults = "/tekton/results"

// Common holds the variables that every step reads.
type Common struct {
	// Form of the log on stderr: `console` for people, `json` for machines (one object a line).
	LogFormat string `env:"LOG_FORMAT, default=console"`
	// Least important messages that are logged: `debug`, `info`, `warn` or `error`.
	LogLevel string `env:"LOG_LEVEL, default=info"`
	// Folder for Tekton results, one file each without a line end, written only after success (VERDICT always).
	// Unset means /tekton/results where that folder exists, else none.
	ResultsDir string `env:"RESULTS_DIR"`
	// File for the results as NAME=VALUE lines, GitLab's dotenv report. Written only after success (VERDICT always).
	DotenvFile string `env:"DOTENV_FILE"`
	// File for a JSON report of the run: status, results, error and the step's details. Written always.
	ReportFile string `env:"REPORT_FILE"`
	// Names of variables, separated by commas, that must not be empty. A job that is handed a digest sets
	// REQUIRE=DIGEST, so that an expired artifact fails it (exit status 2) instead of turning a guard off.
	Require []string `env:"REQUIRE"`
}

func (c *Common) validate(getenv func(string) string, variables []Variable) error {
	var problems []error
	if !slices.Contains([]string{"console", "json"}, c.LogFormat) {
		problems = append(problems, Problem("LOG_FORMAT: %q is neither console nor json", c.LogFormat))
	}
	if !slices.Contains([]string{"debug", "info", "warn", "error"}, c.LogLevel) {
		problems = append(problems, Problem("LOG_LEVEL: %q is none of debug, info, warn, error", c.LogLevel))
	}
	for _, name := range c.Require {
		name = strings.TrimSpace(name)
		secret := slices.ContainsFunc(variables, func(v Variable) bool { return v.Secret && v.Name == name })
		if name != "" && getenv(name) == "" && (!secret || getenv(name+"_FILE") == "") {
			problems = append(problems, Problem("%s is empty, and REQUIRE says that it must not be", name))
		}
	}
	for name, path := range map[string]string{"DOTENV_FILE": c.DotenvFile, "REPORT_FILE": c.ReportFile} {
		if path == "" {
			continue
		}
		if err := writable(path); err != nil {
			problems = append(problems, Problem("%s: %w", name, err))
		}
	}
	if c.ResultsDir != "" {
		if err := writable(c.ResultsDir + "/x"); err != nil {
			problems = append(problems, Problem("RESULTS_DIR: %w", err))
		}
	}
	return errors.Join(problems...)
}

// setDefaults fills in what depends on the machine.
func (c *Common) setDefaults() {
	if c.ResultsDir != "" {
		return
	}
	if info, err := os.Stat(tektonResults); err == nil && info.IsDir() {
		c.ResultsDir = tektonResults
	}
}

func (c *Common) level() zerolog.Level {
	level, err := zerolog.ParseLevel(c.LogLevel)
	if err != nil || c.LogLevel == "" {
		return zerolog.InfoLevel
	}
	return level
}

// Problem is one fault of the configuration, told in the names of variables; a step's Validate joins them.
func Problem(format string, args ...any) error {
	return fault.New(fault.Configuration, format, args...)
}
