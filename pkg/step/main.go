package step

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"dockline/pkg/fault"
)

// grace is how long a step may take to stop after a signal before it is ended: the promise is five seconds.
const grace = 4500 * time.Millisecond

// Main runs a step program and ends the process with its exit status. It is all that a main function calls. Given
// several programs it runs the one by whose name the process was called, so that they can share one file under links.
func Main(programs ...Program) {
	p, err := named(programs, os.Args[0])
	if err != nil {
		end := endingOf(context.Background(), err)
		fmt.Fprintln(os.Stderr, end.lastLine(filepath.Base(os.Args[0])))
		os.Exit(end.status)
	}
	if p.GCPercent > 0 && os.Getenv("GOGC") == "" {
		debug.SetGCPercent(p.GCPercent)
	}
	os.Exit(Run(context.Background(), p, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// named picks a program by the name that the process was called by; one that is alone goes by any name.
func named(programs []Program, called string) (Program, error) {
	if len(programs) == 1 {
		return programs[0], nil
	}
	var names []string
	for _, p := range programs {
		if p.Name == filepath.Base(called) {
			return p, nil
		}
		names = append(names, p.Name)
	}
	return Program{}, fault.WithHint(fault.New(fault.Configuration, "%q is not the name of a step", filepath.Base(called)),
		"this program is called by one of the names "+strings.Join(names, ", "))
}

// Run runs a step program with this environment ("NAME=value" each), and returns its exit status. Everything that it
// writes to stdout and stderr is masked, and a crash too ends in one clear line and status 1.
func Run(ctx context.Context, p Program, args, environment []string, stdout, stderr io.Writer) (status int) {
	r := newRun(p, environment, stdout, stderr)
	defer r.flush()
	err := guarded(func() error {
		if len(args) > 0 {
			status = r.flag(args)
			return nil
		}
		ctx, stop := r.interruptible(ctx)
		defer stop()
		status = r.run(ctx)
		return nil
	})
	if err != nil {
		r.tellCrash(err)
		status = r.say(endingOf(ctx, err))
	}
	return status
}

// run is one run of a program.
type run struct {
	program Program
	common  Common
	loader  loader
	rt      *Runtime
	stdout  *cleaningWriter
	stderr  *cleaningWriter
	marks   io.WriteCloser // stderr, for the CI system's own marks
	started time.Time
}

func newRun(p Program, environment []string, stdout, stderr io.Writer) *run {
	values := map[string]string{}
	for _, entry := range environment {
		if name, value, _ := strings.Cut(entry, "="); value != "" {
			values[name] = value
		}
	}
	masker := &Masker{}
	r := &run{program: p, started: time.Now(), marks: masker.Writer(stderr)}
	r.stdout, r.stderr = &cleaningWriter{to: masker.Writer(stdout)}, &cleaningWriter{to: r.marks}
	r.rt = &Runtime{
		Stdout: r.stdout,
		Getenv: func(name string) string { return values[name] },
		masker: masker,
		files:  new([]string),
		every:  waitingEvery,
	}
	r.rt.Log = newLog(r.stderr, &r.common, p.Name) // until the configuration is read
	r.loader = loader{environment: values, runtime: r.rt}
	return r
}

func (r *run) flush() {
	_ = r.stdout.Close()
	_ = r.stderr.Close()
}

// flag answers the only three arguments that there are.
func (r *run) flag(args []string) int {
	switch {
	case len(args) == 1 && args[0] == "--help":
		r.program.writeHelp(r.stdout)
		return 0
	case len(args) == 1 && args[0] == "--version":
		fmt.Fprintf(r.stdout, "%s %s\n", r.program.Name, Version())
		return 0
	case len(args) == 1 && args[0] == "--print-config":
		err := r.configure()
		_ = printConfig(r.stdout, r.loader.settings)
		return r.say(endingOf(context.Background(), err))
	}
	return r.say(endingOf(context.Background(), fault.New(fault.Configuration,
		"the argument %q is unknown: only --help, --print-config and --version are there", args[0])))
}

// configure reads the environment and returns all problems at once.
func (r *run) configure() error {
	variables, _ := r.program.variables(&r.common)
	r.loader.maskAmbient()
	err := r.loader.load(variables)
	r.common.setDefaults()
	r.stderr.json = r.common.LogFormat == "json"
	r.rt.Log = newLog(r.stderr, &r.common, r.program.Name)
	r.rt.sections = &sections{
		enabled: r.rt.Getenv("GITLAB_CI") != "" && r.common.LogFormat != "json", to: r.marks, now: time.Now,
	}
	// The step validates even what could not be read whole, so that a person mends all problems in one go.
	return errors.Join(err, fault.As(fault.Configuration, r.program.Step.Validate()), r.common.validate(r.rt.Getenv, variables))
}

func (r *run) run(ctx context.Context) int {
	err := guarded(r.configure)
	for _, warning := range r.loader.warnings {
		r.rt.Log.Warn().Msg(warning)
	}
	// What an earlier run left must not pass for this one's, least of all when this one comes to nothing.
	err = errors.Join(err, removeStale(&r.common, r.program))
	var outcome Outcome
	if err == nil {
		err = guarded(func() (err error) {
			outcome, err = r.program.Step.Run(ctx, r.rt)
			return err
		})
		r.tellCrash(errors.Join(err, context.Cause(ctx)))
		// Commands that a step runs, such as a build's, may have left there what is none of its results.
		err = errors.Join(err, removeAll(&r.common, r.program.Results, []string{r.common.ReportFile}))
	}
	results := outcome.Results
	if err != nil {
		results = always(results)
	}
	if failure := writeResults(&r.common, results); failure != nil {
		err = errors.Join(err, failure)
		results = nil
	}
	end := endingOf(ctx, err)
	failure := guarded(func() error { return r.report(end, outcome, results).write(r.rt, r.common.ReportFile) })
	if failure != nil {
		r.rt.Log.Error().Err(failure).Msg("the report could not be written")
		r.tellCrash(failure)
	}
	if failure != nil && end.status == 0 { // then this is no success, and has no results
		end = endingOf(ctx, errors.Join(failure, keepAlways(&r.common, results)))
	}
	return r.say(end)
}

// guarded turns a crash of f into its error, so that what is due after it is still done.
func guarded(f func() error) (err error) {
	defer fault.Catch(&err)
	return f()
}

// tellCrash logs where a program crashed, for who asks for it.
func (r *run) tellCrash(err error) {
	if crash := (*fault.Crash)(nil); errors.As(err, &crash) {
		r.rt.Log.Debug().Bytes("stack", crash.Stack).Msg("crashed")
	}
}

func (r *run) report(end ending, outcome Outcome, results []Result) report {
	report := report{
		Step: r.program.Name, Version: Version(), Status: end.name, ExitStatus: end.status,
		Error: end.text, Side: end.side, Hint: end.hint,
		Started: r.started.UTC(), Seconds: time.Since(r.started).Seconds(), Details: outcome.Report,
	}
	for _, result := range results {
		if report.Results == nil {
			report.Results = map[string]string{}
		}
		report.Results[result.Name] = result.Value
	}
	return report
}

// say writes the last line and returns the exit status.
func (r *run) say(end ending) int {
	switch {
	case end.status == 0:
	case r.common.LogFormat == "json":
		r.rt.Log.Error().Int("exit_status", end.status).Str("kind", end.name).Str("side", end.side).
			Str("hint", end.hint).Msg(r.program.Name + ": " + end.text)
	default:
		fmt.Fprintln(r.stderr, cleanLine(end.lastLine(r.program.Name)))
	}
	return end.status
}

// interruptible ends the context at SIGINT and SIGTERM. A step that has not stopped by the end of the grace is ended
// by force; what it does is safe to break off anywhere.
func (r *run) interruptible(parent context.Context) (ctx context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(parent)
	r.rt.cancel = cancel
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, terminating...)
	done := make(chan struct{})
	r.rt.background(func() {
		select {
		case <-done:
			return
		case got := <-signals:
			number, _ := got.(syscall.Signal)
			cancel(interruption{number})
			select {
			case <-done:
			case <-time.After(grace):
				end := r.say(endingOf(ctx, fault.WithHint(context.Canceled, "start the same step again: it completes the work")))
				r.flush()
				os.Exit(end)
			}
		}
	})
	return ctx, func() {
		signal.Stop(signals)
		close(done)
		cancel(nil)
	}
}
