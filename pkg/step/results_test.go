package step

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/fault"
)

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
