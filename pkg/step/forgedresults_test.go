package step

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"dockline/pkg/fault"
)

// TestForgedResults has something write results while a step works, as a RUN of a Dockerfile can: none is handed on.
func TestForgedResults(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		own    Outcome
		err    error
		status int
		want   map[string]string // of the results' folder
	}{
		"after a failure":               {Outcome{}, fault.New(fault.BuildFailed, "no"), 9, map[string]string{}},
		"where the step writes another": {Outcome{Results: []Result{{Name: "DIGEST", Value: "own"}}}, nil, 0, map[string]string{"DIGEST": "own"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			dotenv := filepath.Join(dir, "dotenv", "report")
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
				err := errors.Join(
					os.WriteFile(filepath.Join(dir, "DIGEST"), []byte("forged"), 0o600),
					os.WriteFile(filepath.Join(dir, "VERDICT"), []byte("forged"), 0o600),
					os.Mkdir(filepath.Dir(dotenv), 0o700), os.WriteFile(dotenv, []byte("DIGEST=forged\n"), 0o600))
				if err != nil {
					t.Error(err)
				}
				return row.own, row.err
			}}
			status, _, stderr := try(t, s, nil, "IMAGE=a", "RESULTS_DIR="+dir, "DOTENV_FILE="+dotenv)
			if status != row.status {
				t.Errorf("exit status %d, want %d: %s", status, row.status, stderr)
			}
			for _, name := range []string{"DIGEST", "VERDICT"} {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				if string(text) != row.want[name] {
					t.Errorf("%s is %q, want %q", name, text, row.want[name])
				}
			}
			if text, _ := os.ReadFile(dotenv); string(text) == "DIGEST=forged\n" {
				t.Error("the forged dotenv file was handed on")
			}
		})
	}
}
