package kaniko

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"syscall"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// childName is the name under which the child is started.
const childName = "dockline-build"

// childEnvironment is all that the child starts with. Kaniko needs USER when it is linked without cgo.
var childEnvironment = []string{
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "USER=root", "KANIKO_DIR=" + Dir,
}

// runChild runs the build's process and returns its answer when it, and every process that it started, has ended.
func (b Build) runChild(ctx context.Context, told order) (answer outcome, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	readers, running := errgroup.WithContext(ctx) // ends the build when one of them crashes
	var pipes pipes
	defer pipes.close()
	orders, answers, log := pipes.new(), pipes.new(), pipes.new()
	output := pipes.new()
	if pipes.err != nil {
		return outcome{}, fault.New(fault.Unexpected, "making pipes: %w", pipes.err)
	}
	command := exec.CommandContext(running, "/proc/self/exe")
	command.Args = []string{childName}
	command.Env = slices.Clone(childEnvironment)
	if control != "" {
		command.Env = append(command.Env, controlVariable+"="+os.Getenv(controlVariable))
	}
	command.Stdout, command.Stderr = output.write, output.write
	command.ExtraFiles = []*os.File{orders.read, answers.write, log.write} // 3, 4 and 5 in the child
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}

	warning, err := lessPrivileged(command.Start)
	if err != nil {
		return outcome{}, fault.As(fault.Denied, err)
	}
	if warning != "" {
		b.say("warning", warning)
	}
	// What the child holds must be closed here, or its end would not be seen.
	for _, file := range []*os.File{orders.read, answers.write, log.write, output.write} {
		_ = file.Close()
	}
	stop := reap(command.Process.Pid)
	readers.Go(func() (err error) {
		defer fault.Catch(&err)
		b.tellOutput(output.read)
		return nil
	})
	readers.Go(func() (err error) {
		defer fault.Catch(&err)
		b.tellLog(log.read)
		return nil
	})
	sent := json.NewEncoder(orders.write).Encode(told) // and stays open: its end tells the child that this process is gone
	decoded := json.NewDecoder(io.LimitReader(answers.read, 1<<20)).Decode(&answer)
	_ = command.Wait()
	crashed := stop()
	left := killDescendants()
	if left != nil {
		pipes.close() // what is left may hold the other ends for ever
	}
	crashed = errors.Join(crashed, readers.Wait())
	switch {
	case crashed != nil:
		return outcome{}, fmt.Errorf("building: %w", errors.Join(crashed, left))
	case ctx.Err() != nil:
		return outcome{}, errors.Join(interrupted(ctx), left)
	case left != nil:
		return outcome{}, left
	case sent != nil || decoded != nil:
		return outcome{}, fault.New(fault.BuildFailed, "the build's process ended without an answer (%s)", command.ProcessState)
	}
	return answer, nil
}

// interrupted is the error of a build whose context ended: context.Canceled or DeadlineExceeded, and the reason given.
func interrupted(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, ctx.Err()) {
		return fmt.Errorf("building: %w: %w", ctx.Err(), cause)
	}
	return fmt.Errorf("building: %w", ctx.Err())
}

// pipes makes pipes and closes what is left of them.
type pipes struct {
	files []*os.File
	err   error
}

type pipe struct{ read, write *os.File }

func (p *pipes) new() pipe {
	read, write, err := os.Pipe()
	p.err = errors.Join(p.err, err)
	p.files = append(p.files, read, write)
	return pipe{read, write}
}

func (p *pipes) close() {
	for _, file := range p.files {
		_ = file.Close()
	}
}
