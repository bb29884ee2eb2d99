package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// Contained runs steps in containers of Dockline's image, by the docker client: the build as root with a default
// container's capabilities, the others as a user that the image does not know, with nothing to write to and no capability.
type Contained struct {
	Image   string
	Environ []string // by which the client finds its engine
	Dir     string   // for the folders that containers share with this machine; it must exist
}

// arbitraryUser is one from the range that OpenShift chooses from, in the group that it always gives.
const arbitraryUser = "1000650000:0"

// Run implements Runner.
func (c Contained) Run(ctx context.Context, job Job) (*Outcome, error) {
	dir, err := os.MkdirTemp(c.Dir, job.Step+"-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	results := filepath.Join(dir, "results")
	if err := errors.Join(os.Mkdir(results, 0o700), os.Chmod(results, 0o777)); err != nil { //nolint:gosec // any user's
		return nil, err
	}
	name := "dockline-story-" + strings.ToLower(filepath.Base(dir))
	args := []string{
		"run", "--rm", "--name", name, "--network", "host", "--volume", results + ":" + resultsDir, "--env", "RESULTS_DIR=" + resultsDir,
	}
	if job.Step != "clone-build-push" {
		args = append(args, "--user", arbitraryUser, "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
	}
	number := 0
	for path, content := range job.Files {
		number++
		file := filepath.Join(dir, fmt.Sprint("file", number))
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil { //nolint:gosec // for any user
			return nil, err
		}
		args = append(args, "--volume", file+":"+path+":ro")
	}
	environment := c.environ()
	for name, value := range job.Environment {
		args = append(args, "--env", name) // its value from the client's environment: a command line can be read by all
		environment = append(environment, name+"="+value)
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	command := exec.CommandContext(ctx, "docker", append(args, c.Image, job.Step)...)
	command.Env = environment
	command.Cancel = func() error { return c.kill(name) } // the client's end would leave the container
	command.WaitDelay = 10 * time.Second
	return finish(command, job.Step, results)
}

func (c Contained) kill(name string) error {
	command := exec.Command("docker", "kill", name)
	command.Env = c.environ()
	return command.Run()
}

func (c Contained) environ() []string {
	return append([]string{"PATH=" + os.Getenv("PATH")}, c.Environ...)
}
