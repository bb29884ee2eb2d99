// Package step is what the four step programs share: configuration from the environment, logging and masking,
// results and reports, errors and exit statuses, signals. It alone knows the environment, Tekton's and GitLab's files.
//
// A program's main is one call of [Main]. Its configuration is a plain struct whose fields carry env tags
// (sethvargo/go-envconfig's syntax); the fields' doc comments are what --help and the reference in docs/ say.
package step

import (
	"context"
	"io"
	"time"

	"github.com/rs/zerolog"

	"dockline/pkg/fault"
)

// Step is what a program runs: a pointer to a struct of configuration, filled from the environment before Validate.
type Step interface {
	// Validate returns all problems at once (errors.Join), in variable names, without a secret's value.
	Validate() error
	// Run does the work. Results are written only when it returns no error, the outcome's report always.
	Run(ctx context.Context, rt *Runtime) (Outcome, error)
}

// Reporter is a Step that writes reports of its own, beside those that every step has.
type Reporter interface {
	// Reports returns their paths. Like results, files of these names are removed before the work begins.
	Reports() []string
}

// Program describes one step program.
type Program struct {
	Name    string   // as it is called: "promote"
	Summary string   // one sentence for --help and the reference
	Step    Step     // pointer to the configuration struct
	Source  string   // Go source text of that struct: its doc comments are the variables' meanings
	Shared  []string // likewise of the groups of variables that it shares with other steps
	Results []string // names of the results that the step may write; files of these names are removed at the start
	// GCPercent has garbage collected sooner than Go's 100 does (debug.SetGCPercent), in a program that holds little at a
	// time and is to stay small. 0, or GOGC in the environment, leaves it as it is.
	GCPercent int
}

// Outcome is what a run of a step has to say to other programs.
type Outcome struct {
	Results []Result
	Report  any // marshalled as "details" into REPORT_FILE; nil leaves it out
}

// Result is one named value, handed on by Tekton and by GitLab's dotenv report.
type Result struct {
	Name  string
	Value string
	// Always has the result written after a failure too, which only a verdict may ask for.
	Always bool
}

// Runtime is what a step has beside its configuration.
type Runtime struct {
	Log    zerolog.Logger      // to stderr, masked, without control characters
	Stdout io.Writer           // likewise: tables for people
	Getenv func(string) string // the environment, empty meaning unset

	masker   *Masker
	sections *sections
	files    *[]string
	cancel   context.CancelCauseFunc // ends the run
	every    time.Duration           // of what Waiting says
}

// Mask adds secrets to what is masked, from now on, in everything that leaves the process.
func (rt *Runtime) Mask(secrets ...string) { rt.masker.Add(secrets...) }

// Masked returns text with every known secret replaced.
func (rt *Runtime) Masked(text string) string { return rt.masker.Mask(text) }

// Section starts a collapsible section of a GitLab job log and returns its end. Elsewhere it does nothing.
func (rt *Runtime) Section(name, header string) (end func()) { return rt.sections.start(name, header) }

// WriteReport writes a report for people or for other programs: masked, without following a link, by rename.
// A folder that is missing is made.
func (rt *Runtime) WriteReport(path string, content []byte) error {
	return writeFile(path, []byte(rt.masker.Mask(string(content))))
}

// CredentialFiles returns the paths of the files that credentials have been read from so far.
func (rt *Runtime) CredentialFiles() []string { return append([]string(nil), *rt.files...) }

// background runs work beside the step. A crash of it ends the run as one of the step does.
func (rt *Runtime) background(work func()) {
	go func() {
		var err error
		defer func() {
			if err != nil {
				rt.cancel(err)
			}
		}()
		defer fault.Catch(&err)
		work()
	}()
}

func (rt *Runtime) readCredentials(path string) ([]byte, error) {
	content, err := readSmallFile(path)
	if err == nil {
		*rt.files = append(*rt.files, path)
	}
	return content, err
}
