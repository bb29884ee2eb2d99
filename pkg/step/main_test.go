package step

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dockline/pkg/fault"
)

const sampleSource = `package sample
type sample struct {
	// Name of the image.
	Image string
	// How long to wait.
	Timeout time.Duration
	// A commit.
	Commit string
	// An address.
	URL string
	// A password.
	Password Secret
	// Secrets of the build.
	Secrets map[string]Secret
}`

type sample struct {
	Image    string            `env:"IMAGE, required"`
	Timeout  time.Duration     `env:"TIMEOUT, default=5m"`
	Force    bool              `env:"FORCE"`
	URL      string            `env:"GIT_URL" group:"git"`
	Commit   string            `env:"GIT_REVISION" group:"git" ci:"CI_COMMIT_SHA"`
	Password Secret            `env:"GIT_PASSWORD"`
	Labels   map[string]string `env:"LABELS"`
	Secrets  map[string]Secret `env:"BUILD_SECRET_*"`
	Target   Registry          `env:", prefix=TARGET_"`

	run      func(context.Context, *Runtime) (Outcome, error)
	validate func() error
	reports  []string
}

func (s *sample) Validate() error {
	if s.validate == nil {
		return nil
	}
	return s.validate()
}

func (s *sample) Reports() []string { return s.reports }

func (s *sample) Run(ctx context.Context, rt *Runtime) (Outcome, error) {
	if s.run == nil {
		return Outcome{}, nil
	}
	return s.run(ctx, rt)
}

// try runs the sample program and returns its exit status and what it wrote.
func try(t *testing.T, s *sample, args []string, environment ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	program := Program{
		Name: "sample", Summary: "shows", Step: s, Source: sampleSource, Results: []string{"DIGEST", "VERDICT"},
	}
	status = Run(t.Context(), program, args, environment, &out, &errs)
	return status, out.String(), errs.String()
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

func TestEndings(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		err    error
		panics bool
		status int
		last   string
	}{
		"done":   {status: 0},
		"a rule": {err: fault.New(fault.Refused, "the tag holds another digest"), status: 3, last: "sample: refused: the tag holds another digest. Hint: a rule of this step forbids it: look at both sides of what it says before you change either (exit status 3)"},
		"a side and its prefix": {
			err: fault.At("target registry", fault.New(fault.Denied, "pushing %q: 401", "a:1")), status: 5,
			last: `sample: not allowed: target registry: pushing "a:1": 401. Hint: check TARGET_REGISTRY_USERNAME and TARGET_REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`,
		},
		"an own hint": {
			err: fault.WithHint(fault.New(fault.NotFound, "no tag"), "look elsewhere."), status: 4,
			last: "sample: not found: no tag. Hint: look elsewhere (exit status 4)",
		},
		"a revision": {
			err:    fault.At("Git server", fault.New(fault.NotFound, "resolving %q: the repository has no such branch or tag", "x")),
			status: 4,
			last:   `sample: not found: Git server: resolving "x": the repository has no such branch or tag. Hint: check GIT_REVISION: a branch, a tag or a full commit hash (exit status 4)`,
		},
		"a repository": {
			err: fault.At("Git server", fault.New(fault.NotFound, "there is no such repository")), status: 4,
			last: "sample: not found: Git server: there is no such repository. Hint: check GIT_URL, and that the account may read it (exit status 4)",
		},
		"several lines": {err: errors.Join(fault.New(fault.Wrong, "one"), errors.New("two")), status: 8, last: "sample: wrong: one; two. Hint: what was found is not what it should be: the log above tells how it came to that (exit status 8)"},
		"no kind":       {err: errors.New("odd"), status: 1, last: "sample: unexpected: odd. Hint: this looks like a bug: run again with LOG_LEVEL=debug and report what it says (exit status 1)"},
		"a deadline":    {err: context.DeadlineExceeded, status: 7, last: "sample: timed out: context deadline exceeded. Hint: look at what it waited for, and raise TIMEOUT if that is only slow (exit status 7)"},
		"a crash":       {panics: true, status: 1, last: "sample: unexpected: crashed: boom. Hint: this looks like a bug: run again with LOG_LEVEL=debug and report what it says (exit status 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
				if row.panics {
					panic("boom")
				}
				return Outcome{}, row.err
			}}
			status, _, stderr := try(t, s, nil, "IMAGE=a")
			if status != row.status || lastLine(stderr) != row.last {
				t.Errorf("status %d, last line\n%q\nwant %d,\n%q", status, lastLine(stderr), row.status, row.last)
			}
		})
	}
}

func TestACrashBesideTheStepEndsIt(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(ctx context.Context, rt *Runtime) (Outcome, error) {
		rt.every = time.Millisecond
		defer rt.Waiting(ctx, func() string { panic("boom with hunter22") })()
		<-ctx.Done()
		return Outcome{}, fmt.Errorf("waiting: %w", ctx.Err())
	}}
	status, _, stderr := try(t, s, nil, "IMAGE=a", "GIT_PASSWORD=hunter22", "LOG_LEVEL=debug")
	const last = "sample: unexpected: crashed: boom with [MASKED]. Hint: this looks like a bug: run again with LOG_LEVEL=debug and report what it says (exit status 1)"
	if status != 1 || lastLine(stderr) != last || !strings.Contains(stderr, "goroutine") {
		t.Errorf("status %d: %s", status, stderr)
	}
}

// TestCrashesAreTold has a crash in each place: none may end in a raw trace, nor tell a secret.
func TestCrashesAreTold(t *testing.T) {
	t.Parallel()
	boom := func() error { panic("boom with hunter22") }
	for name, row := range map[string]struct {
		sample sample
		args   []string
	}{
		"while validating":     {sample{validate: boom}, nil},
		"while being shown":    {sample{validate: boom}, []string{"--print-config"}},
		"while running":        {sample{run: func(context.Context, *Runtime) (Outcome, error) { return Outcome{}, boom() }}, nil},
		"while being reported": {sample{run: func(context.Context, *Runtime) (Outcome, error) { return Outcome{Report: crashing{}}, nil }}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, _, stderr := try(t, &row.sample, row.args, "IMAGE=a", "GIT_PASSWORD=hunter22", "REPORT_FILE="+filepath.Join(t.TempDir(), "r"))
			if status != 1 || !strings.HasPrefix(lastLine(stderr), "sample: unexpected: crashed: boom with [MASKED]") || strings.Contains(stderr, "goroutine") {
				t.Errorf("exit status %d:\n%s", status, stderr)
			}
		})
	}
}

// crashing is a report that cannot be written.
type crashing struct{}

func (crashing) MarshalText() ([]byte, error) { panic("boom with hunter22") }

func TestFlags(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		args   []string
		status int
		out    []string
		not    []string
	}{
		"help":         {[]string{"--help"}, 0, []string{"IMAGE (required)\n    Name of the image.", "GIT_PASSWORD (or GIT_PASSWORD_FILE)", "TIMEOUT (default: 5m)", "in GitLab: CI_COMMIT_SHA", "TARGET_REGISTRY_CA_FILE", "LOG_FORMAT (default: console)"}, nil},
		"version":      {[]string{"--version"}, 0, []string{"sample "}, nil},
		"print-config": {[]string{"--print-config"}, 0, []string{"GIT_PASSWORD", "[MASKED]", "environment", "https://u:[MASKED]@h/x"}, []string{"hunter22", "addressed"}},
		"another":      {[]string{"--image=x"}, 2, nil, nil},
		"a word":       {[]string{"promote", "now"}, 2, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			status, stdout, _ := try(t, &sample{}, row.args, "IMAGE=a", "GIT_PASSWORD=hunter22", "GIT_URL=https://u:addressed@h/x")
			if status != row.status {
				t.Errorf("exit status %d, want %d", status, row.status)
			}
			for _, part := range row.out {
				if !strings.Contains(stdout, part) {
					t.Errorf("%q is not in\n%s", part, stdout)
				}
			}
			for _, part := range row.not {
				if strings.Contains(stdout, part) {
					t.Errorf("%q is in\n%s", part, stdout)
				}
			}
		})
	}
}
