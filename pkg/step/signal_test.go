package step

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestMain lets the test binary be a step program that waits: a signal needs a process of its own to arrive at.
func TestMain(m *testing.M) {
	how := os.Getenv("WAITING_STEP")
	if how == "" {
		os.Exit(m.Run())
	}
	wait := func(ctx context.Context, rt *Runtime) (Outcome, error) {
		rt.Log.Info().Msg("waiting")
		if how == "stubborn" {
			select {} // a step that does not look at its context
		}
		<-ctx.Done()
		return Outcome{}, ctx.Err()
	}
	Main(Program{Name: "sample", Step: &sample{run: wait}, Source: sampleSource, Results: []string{"DIGEST"}})
}

func TestSignals(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		how    string
		signal syscall.Signal
		status int
		last   string
	}{
		"SIGTERM":                    {"willing", syscall.SIGTERM, 143, "sample: interrupted: terminated (SIGTERM)."},
		"SIGINT":                     {"willing", syscall.SIGINT, 130, "sample: interrupted: interrupted (SIGINT)."},
		"SIGTERM to one who is deaf": {"stubborn", syscall.SIGTERM, 143, "sample: interrupted: terminated (SIGTERM)."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			command := exec.CommandContext(ctx, os.Args[0])
			command.Env = []string{"IMAGE=a", "WAITING_STEP=" + row.how}
			stderr, err := command.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			lines := bufio.NewScanner(stderr)
			if !lines.Scan() { // it says that it waits
				t.Fatal("it said nothing")
			}
			sent := time.Now()
			if err := command.Process.Signal(row.signal); err != nil {
				t.Fatal(err)
			}
			var last string
			for lines.Scan() {
				last = lines.Text()
			}
			err = command.Wait()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != row.status || !strings.HasPrefix(last, row.last) {
				t.Errorf("ended with %v and %q", err, last)
			}
			if took := time.Since(sent); took > 5*time.Second {
				t.Errorf("stopped after %v: the promise is 5 s", took)
			}
		})
	}
}

func TestASignalThatComesTooLateChangesNothing(t *testing.T) {
	t.Parallel()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithCancelCause(t.Context())
	s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
		cancel(interruption{syscall.SIGTERM})
		return Outcome{}, nil
	}}
	status := Run(ctx, Program{Name: "sample", Step: s, Source: sampleSource}, nil, []string{"IMAGE=a"}, &out, &errs)
	if status != 0 {
		t.Errorf("work that was done ended with %d: %s", status, &errs)
	}
}
