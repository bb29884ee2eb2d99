package step

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

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

func TestConfiguration(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		environment []string
		check       func(s *sample) (got, want any)
		problem     []string // parts of the last line; nil means success
	}{
		"a missing variable":        {nil, nil, []string{"IMAGE is missing", "exit status 2"}},
		"an empty one is missing":   {[]string{"IMAGE="}, nil, []string{"IMAGE is missing"}},
		"an empty one is default":   {[]string{"IMAGE=a", "TIMEOUT="}, func(s *sample) (any, any) { return s.Timeout, 5 * time.Minute }, nil},
		"all problems at once":      {[]string{"FORCE=maybe", "TIMEOUT=5", "LOG_FORMAT=xml"}, nil, []string{"IMAGE is missing", `FORCE: "maybe" is not true or false`, `TIMEOUT: "5" is not a duration`, "LOG_FORMAT"}},
		"a secret from a file":      {[]string{"IMAGE=a", "GIT_PASSWORD_FILE=" + secretFile}, func(s *sample) (any, any) { return s.Password.Reveal(), "from-a-file" }, nil},
		"a secret given twice":      {[]string{"IMAGE=a", "GIT_PASSWORD=x", "GIT_PASSWORD_FILE=" + secretFile}, nil, []string{"GIT_PASSWORD and GIT_PASSWORD_FILE are both set"}},
		"a secret file not there":   {[]string{"IMAGE=a", "GIT_PASSWORD_FILE=/nowhere"}, nil, []string{"GIT_PASSWORD_FILE: open /nowhere"}},
		"GitLab's default":          {[]string{"IMAGE=a", "CI_COMMIT_SHA=abc"}, func(s *sample) (any, any) { return s.Commit, "abc" }, nil},
		"GitLab's default is off":   {[]string{"IMAGE=a", "CI_COMMIT_SHA=abc", "GIT_URL=https://x"}, func(s *sample) (any, any) { return s.Commit, "" }, nil},
		"a prefixed group":          {[]string{"IMAGE=a", "TARGET_REGISTRY=r"}, func(s *sample) (any, any) { return s.Target.Address, "r" }, nil},
		"a family":                  {[]string{"IMAGE=a", "BUILD_SECRET_NPM=tok3n", "BUILD_SECRET_KEY_FILE=" + secretFile}, func(s *sample) (any, any) { return s.Secrets, map[string]Secret{"NPM": "tok3n", "KEY": "from-a-file"} }, nil},
		"REQUIRE holds":             {[]string{"IMAGE=a", "REQUIRE=IMAGE"}, nil, nil},
		"REQUIRE does not hold":     {[]string{"IMAGE=a", "REQUIRE=IMAGE, DIGEST"}, nil, []string{"DIGEST is empty, and REQUIRE says"}},
		"REQUIRE and a file":        {[]string{"IMAGE=a", "REQUIRE=DIGEST", "DIGEST_FILE=" + secretFile}, nil, []string{"DIGEST is empty, and REQUIRE says"}},
		"REQUIRE and a secret file": {[]string{"IMAGE=a", "REQUIRE=GIT_PASSWORD", "GIT_PASSWORD_FILE=" + secretFile}, nil, nil},
		"a report in no folder":     {[]string{"IMAGE=a", "REPORT_FILE=/dev/null/x"}, nil, []string{"REPORT_FILE", "not a folder"}},
		"a map":                     {[]string{"IMAGE=a", "LABELS=a:b,c:d"}, func(s *sample) (any, any) { return s.Labels, map[string]string{"a": "b", "c": "d"} }, nil},
		"a near miss is no problem": {[]string{"IMAGE=a", "TARGET_REGITSRY=x"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sample{}
			status, _, stderr := try(t, s, nil, row.environment...)
			if row.problem == nil && status != 0 || row.problem != nil && status != 2 {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			for _, part := range row.problem {
				if !strings.Contains(lastLine(stderr), part) {
					t.Errorf("%q is not in the last line %q", part, lastLine(stderr))
				}
			}
			if row.check != nil {
				got, want := row.check(s)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func TestNearMisses(t *testing.T) {
	t.Parallel()
	for name, meant := range map[string]string{
		"TARGET_REGITSRY":      "TARGET_REGISTRY",
		"TARGET_REGISTRY_USER": "TARGET_REGISTRY_USERNAME",
		"IMGAE":                "IMAGE",
		"git_url":              "GIT_URL",
		"CI_REGISTRY":          "",
		"KUBERNETES_PORT":      "",
		"IMAGE_PORT":           "",
		"PATH":                 "",
		"UNRELATED":            "",
		"BUILD_SECRET_ANY":     "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, stderr := try(t, &sample{}, nil, "IMAGE=a", name+"=value")
			warned := strings.Contains(stderr, name+" is set, and no step reads it")
			if warned != (meant != "") || !strings.Contains(stderr, meant) {
				t.Errorf("want a warning that names %q, got %q", meant, stderr)
			}
		})
	}
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

func TestResultsAndReport(t *testing.T) {
	t.Parallel()
	outcome := Outcome{
		Results: []Result{{Name: "DIGEST", Value: "sha256:1"}, {Name: "VERDICT", Value: "wrong", Always: true}},
		Report:  map[string]string{"note": "the password is hunter22"},
	}
	for name, row := range map[string]struct {
		err     error
		results map[string]string
		dotenv  string
	}{
		"after success": {nil, map[string]string{"DIGEST": "sha256:1", "VERDICT": "wrong"}, "DIGEST=sha256:1\nVERDICT=wrong\n"},
		"after failure": {fault.New(fault.Wrong, "bad"), map[string]string{"VERDICT": "wrong"}, "VERDICT=wrong\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			elsewhere := filepath.Join(dir, "elsewhere")
			results := filepath.Join(dir, "results")
			if err := errors.Join(os.WriteFile(elsewhere, []byte("mine"), 0o600), os.Mkdir(results, 0o700),
				os.Symlink(elsewhere, filepath.Join(results, "DIGEST"))); err != nil {
				t.Fatal(err)
			}
			dotenv, report := filepath.Join(dir, "d.env"), filepath.Join(dir, "new", "report.json")
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) { return outcome, row.err }}
			try(t, s, nil, "IMAGE=a", "GIT_PASSWORD=hunter22", "RESULTS_DIR="+results, "DOTENV_FILE="+dotenv, "REPORT_FILE="+report)

			got := map[string]string{}
			entries, err := os.ReadDir(results)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				content, err := os.ReadFile(filepath.Join(results, entry.Name()))
				if err != nil {
					t.Fatal(err)
				}
				got[entry.Name()] = string(content)
			}
			if diff := cmp.Diff(row.results, got); diff != "" {
				t.Errorf("results (-want +got)\n%s", diff)
			}
			if content, err := os.ReadFile(dotenv); err != nil || string(content) != row.dotenv {
				t.Errorf("dotenv %q, %v; want %q", content, err, row.dotenv)
			}
			if content, _ := os.ReadFile(elsewhere); string(content) != "mine" {
				t.Errorf("a link was followed: %q", content)
			}
			content, err := os.ReadFile(report)
			if err != nil {
				t.Fatal(err)
			}
			var written struct {
				ExitStatus int               `json:"exit_status"`
				Results    map[string]string `json:"results"`
				Details    map[string]string `json:"details"`
			}
			if err := json.Unmarshal(content, &written); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(row.results, written.Results); diff != "" {
				t.Errorf("report (-want +got)\n%s", diff)
			}
			if written.Details["note"] != "the password is [MASKED]" {
				t.Errorf("the report says %q", written.Details["note"])
			}
		})
	}
}

func TestForgedResultsDoNotOutliveAFailure(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	dotenv := filepath.Join(dir, "d.env")
	s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
		for _, path := range []string{filepath.Join(dir, "DIGEST"), dotenv} {
			if err := os.WriteFile(path, []byte("DIGEST=sha256:forged"), 0o600); err != nil {
				return Outcome{}, err
			}
		}
		return Outcome{}, fault.New(fault.BuildFailed, "a program that was run failed")
	}}
	status, _, _ := try(t, s, nil, "IMAGE=a", "RESULTS_DIR="+dir, "DOTENV_FILE="+dotenv)
	if entries, err := os.ReadDir(dir); status != 9 || err != nil || len(entries) > 0 {
		t.Errorf("status %d, files %v, %v", status, entries, err)
	}
}

// TestNothingOfAnEarlierRunStays has runs that come to nothing where an earlier one left its results.
func TestNothingOfAnEarlierRunStays(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		sample sample
		with   []string
		args   []string
		status int
		stays  bool
	}{
		"nothing is configured":  {status: 2},
		"a variable is no value": {with: []string{"IMAGE=a", "FORCE=maybe"}, status: 2},
		"REQUIRE does not hold":  {with: []string{"IMAGE=a", "REQUIRE=DIGEST"}, status: 2},
		"the step fails": {sample: sample{run: func(context.Context, *Runtime) (Outcome, error) {
			return Outcome{}, fault.New(fault.Denied, "no")
		}}, with: []string{"IMAGE=a"}, status: 5},
		"validating crashes": {sample: sample{validate: func() error { panic("boom") }}, with: []string{"IMAGE=a"}, status: 1},
		"the step crashes": {sample: sample{run: func(context.Context, *Runtime) (Outcome, error) { panic("boom") }},
			with: []string{"IMAGE=a"}, status: 1},
		"nothing is run": {args: []string{"--print-config"}, with: []string{"IMAGE=a"}, status: 0, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			var left []string
			for _, file := range []string{"VERDICT", "DIGEST", "d.env", "own.html"} {
				left = append(left, filepath.Join(dir, file))
				if err := os.WriteFile(filepath.Join(dir, file), []byte("VERDICT=right"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			row.sample.reports = []string{filepath.Join(dir, "own.html")}
			status, _, stderr := try(t, &row.sample, row.args, append(row.with, "RESULTS_DIR="+dir, "DOTENV_FILE="+filepath.Join(dir, "d.env"))...)
			if status != row.status {
				t.Errorf("exit status %d, want %d: %s", status, row.status, stderr)
			}
			for _, path := range left {
				if _, err := os.Lstat(path); (err == nil) != row.stays {
					t.Errorf("%s: %v", filepath.Base(path), err)
				}
			}
		})
	}
	folder := t.TempDir()
	status, _, stderr := try(t, &sample{}, nil, "IMAGE=a", "DOTENV_FILE="+folder)
	if _, err := os.Stat(folder); err != nil || status != 2 || !strings.Contains(lastLine(stderr), "it is a folder") {
		t.Errorf("a folder instead of a file: exit status %d, %v\n%s", status, err, stderr)
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

// meddling is a report during whose writing something happens.
type meddling func() error

func (m meddling) MarshalText() ([]byte, error) { return nil, m() }

// TestAReportThatCannotBeWritten ends a run that would have been a success: none of its results stays but a verdict.
func TestAReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		meddle func(folder string) error // where the report goes
		status int
		last   string // {F} is the report's path
	}{
		"the folder is gone": {func(folder string) error {
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
		}, 6, `sample: unavailable: writing "{F}": making its folder: mkdir {D}: not a directory. Hint: check that the folder is still there ` +
			`and may be written to, and that its disk is not full; then start this step again (exit status 6)`},
		"it crashes": {func(string) error { panic("boom") }, 1,
			"sample: unexpected: crashed: boom. Hint: this looks like a bug: run again with LOG_LEVEL=debug and report what it says (exit status 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, folder := t.TempDir(), filepath.Join(t.TempDir(), "reports")
			report := filepath.Join(folder, "report.json")
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
				return Outcome{
					Results: []Result{{Name: "DIGEST", Value: "d"}, {Name: "VERDICT", Value: "right", Always: true}},
					Report:  meddling(func() error { return row.meddle(folder) }),
				}, nil
			}}
			status, _, stderr := try(t, s, nil, "IMAGE=a", "RESULTS_DIR="+dir, "DOTENV_FILE="+filepath.Join(dir, "d.env"), "REPORT_FILE="+report)
			want := strings.NewReplacer("{F}", report, "{D}", folder).Replace(row.last)
			if status != row.status || lastLine(stderr) != want {
				t.Errorf("exit status %d, want %d, and the last line\n%s\nwant\n%s", status, row.status, lastLine(stderr), want)
			}
			left := map[string]string{}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				content, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
				left[entry.Name()] = string(content)
			}
			if diff := cmp.Diff(map[string]string{"VERDICT": "right", "d.env": "VERDICT=right\n"}, left); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestResultsThatCannotBeHandedOn(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{"a line end": "a\nFORGED=1", "too long": strings.Repeat("x", 2000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
				return Outcome{Results: []Result{{Name: "DIGEST", Value: value}}}, nil
			}}
			status, _, _ := try(t, s, nil, "IMAGE=a", "RESULTS_DIR="+dir)
			entries, err := os.ReadDir(dir)
			if status != 1 || len(entries) != 0 || err != nil {
				t.Errorf("status %d, files %v, %v", status, entries, err)
			}
		})
	}
}

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

func TestJSONLogHoldsTheLastLine(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
		rt.Log.Info().Str("with", "hunter22").Msg("said")
		return Outcome{}, fault.New(fault.NotFound, "no hunter22 here")
	}}
	_, _, stderr := try(t, s, nil, "IMAGE=a", "LOG_FORMAT=json", "GIT_PASSWORD=hunter22")
	var line map[string]any
	if err := json.Unmarshal([]byte(lastLine(stderr)), &line); err != nil {
		t.Fatal(err)
	}
	if line["exit_status"] != 4.0 || line["message"] != "sample: no [MASKED] here" || strings.Contains(stderr, "hunter22") {
		t.Errorf("got %s", stderr)
	}
}

func TestSectionsOnlyInGitLab(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
		rt.Section("clone", "Cloning")()
		return Outcome{}, nil
	}}
	_, _, in := try(t, s, nil, "IMAGE=a", "GITLAB_CI=true")
	_, _, outside := try(t, s, nil, "IMAGE=a")
	if !strings.Contains(in, ":clone[collapsed=true]\r\x1b[0KCloning\n") || !strings.Contains(in, "section_end:") {
		t.Errorf("in GitLab: %q", in)
	}
	if strings.Contains(outside, "section_") {
		t.Errorf("elsewhere: %q", outside)
	}
}
