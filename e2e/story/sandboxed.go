package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"dockline/e2e/sandbox"
	"dockline/pkg/imageroot"
)

// Sandboxed runs steps in private mount and PID namespaces, without a container engine.
type Sandboxed struct {
	Programs string // folder with the step programs
	Dir      string // for the root file systems; it must exist
}

// stepLimit bounds one step, so that a story that hangs ends.
const stepLimit = 3 * time.Minute

// Run implements Runner.
func (s Sandboxed) Run(ctx context.Context, job Job) (*Outcome, error) {
	dir, err := os.MkdirTemp(s.Dir, job.Step+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	root, results := filepath.Join(dir, "root"), filepath.Join(dir, "results")
	if err := errors.Join(os.Mkdir(root, 0o755), os.Mkdir(results, 0o755)); err != nil { //nolint:gosec // a root file system
		return nil, err
	}
	program := "/kaniko/bin/" + job.Step
	files := map[string]string{imageroot.Marker: ""}
	for path, content := range job.Files {
		files[path] = content
	}
	box, err := sandbox.New(root, sandbox.Spec{
		Args: []string{program}, Env: environment(job),
		Programs: map[string]string{program: filepath.Join(s.Programs, job.Step)}, Files: files,
		Binds: map[string]string{resultsDir: results},
	})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		return nil, err
	}
	return finish(command, job.Step, results)
}

// environment is the job's, and what Dockline's image sets.
func environment(job Job) []string {
	list := []string{
		"PATH=/kaniko/bin", "HOME=/root", "USER=root", "KANIKO_DIR=" + imageroot.Dir, "RESULTS_DIR=" + resultsDir,
	}
	for name, value := range job.Environment {
		list = append(list, name+"="+value)
	}
	return list
}

// finish runs a step's command to its end and gathers what it left.
func finish(command *exec.Cmd, step, results string) (*Outcome, error) {
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	started := time.Now()
	err := command.Run()
	took := time.Since(started)
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("running %s: %w", step, err)
	}
	o := &Outcome{
		Step: step, Status: command.ProcessState.ExitCode(), Stdout: stdout.String(), Stderr: stderr.String(), Took: took,
	}
	o.Results, err = readResults(results)
	return o, err
}
