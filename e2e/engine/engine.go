// Package engine starts a Docker engine of one's own for the tests, and stops it without a trace: with its own folder,
// socket and containerd, beside whatever engine a machine may run. It has no network but the host's, so that containers
// (docker run --network host) reach the tests' servers on loopback, and nothing else is set up on the machine.
//
// It needs root. On Debian it installs the engine's package where that is missing.
package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"dockline/e2e/leftover"
)

// Engine is a running engine. Close it.
type Engine struct {
	// Host is the value for DOCKER_HOST.
	Host string

	dir     string
	traces  []string // what to remove outside of dir
	process *os.Process
	ended   chan struct{} // closed when the engine's process has ended
	release chan struct{} // closed when its starter may end
}

// patience is how long an engine may take to start or to stop. On a busy machine it takes some 10 s.
const patience = 90 * time.Second

// Start starts an engine and returns when it answers. The engine ends with this process at the latest.
func Start(ctx context.Context) (*Engine, error) {
	if err := install(ctx); err != nil {
		return nil, fmt.Errorf("starting a container engine: %w", err)
	}
	dir, err := os.MkdirTemp("", "engine-")
	if err != nil {
		return nil, err
	}
	e := &Engine{
		Host: "unix://" + filepath.Join(dir, "docker.sock"), dir: dir, traces: leftover.Absent(elsewhere),
		ended: make(chan struct{}), release: make(chan struct{}),
	}
	if err := e.start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a container engine: %w", err), os.RemoveAll(dir))
	}
	if err := e.await(ctx); err != nil {
		err = fmt.Errorf("starting a container engine: %w\n%s", err, e.log())
		return nil, errors.Join(err, e.Close())
	}
	return e, nil
}

// Command is a command of the engine's client, which sees this engine alone, and builds with the engine itself.
func (e *Engine) Command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, "docker", args...)
	command.Env = append(os.Environ(), e.Environ()...)
	return command
}

// Load loads an image from an archive, and returns its name.
func (e *Engine) Load(ctx context.Context, archive string) (image string, err error) {
	out, err := e.Command(ctx, "load", "--input", archive).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("loading an image: %w: %s", err, out)
	}
	_, image, found := strings.Cut(strings.TrimSpace(string(out)), "Loaded image: ")
	if !found {
		return "", fmt.Errorf("loading an image: the engine says %q", out)
	}
	return image, nil
}

// Environ is what a program needs in its environment to work with this engine alone.
func (e *Engine) Environ() []string {
	return []string{
		"DOCKER_HOST=" + e.Host, "DOCKER_CONTEXT=", "DOCKER_TLS_VERIFY=", "DOCKER_BUILDKIT=0", "DOCKER_CLI_HINTS=false",
		"DOCKER_CONFIG=" + filepath.Join(e.dir, "config"),
	}
}

// Close ends every container and the engine, and removes all that they have left.
func (e *Engine) Close() error {
	defer close(e.release)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	var problems []error
	if e.answers(ctx) == nil {
		problems = append(problems, e.removeContainers(ctx))
	}
	_ = e.process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-e.ended:
	case <-ctx.Done():
		problems = append(problems, errors.New("stopping the container engine: it had to be killed"), e.process.Kill())
		<-e.ended
	}
	return errors.Join(append(problems, e.removeTraces())...)
}

// start starts the engine from a thread that lives as long as it: the kernel ends it with that thread (PR_SET_PDEATHSIG).
func (e *Engine) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		command, log, err := e.daemon()
		if err == nil {
			err = command.Start()
			_ = log.Close()
		}
		if err != nil {
			started <- err
			return
		}
		e.process = command.Process
		go func() {
			_ = command.Wait()
			close(e.ended)
		}()
		started <- nil
		<-e.release
	}()
	return <-started
}

func (e *Engine) daemon() (command *exec.Cmd, log *os.File, err error) {
	in := func(name string) string { return filepath.Join(e.dir, name) }
	if log, err = os.Create(in("log")); err != nil {
		return nil, nil, err
	}
	args := []string{
		"--host", e.Host, "--data-root", in("data"), "--exec-root", in("exec"), "--pidfile", in("pid"),
		"--bridge=none", "--iptables=false", "--ip6tables=false", "--ip-forward=false", "--ip-masq=false",
	}
	if _, err := os.Stat("/run/systemd/system"); err != nil { // systemd has groups of its own, and removes them
		args = append(args, "--cgroup-parent", "/"+e.group())
	}
	command = exec.Command("dockerd", args...) //nolint:gosec // ours
	// Debian keeps some of what the engine starts where an ordinary PATH does not look.
	command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin", "DOCKER_HOST=")
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	return command, log, nil
}

// group is the control group of the engine's containers.
func (e *Engine) group() string { return filepath.Base(e.dir) }

// await waits for the engine's first answer.
func (e *Engine) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := e.answers(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-e.ended:
			return errors.New("it has ended")
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

func (e *Engine) answers(ctx context.Context) error {
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", strings.TrimPrefix(e.Host, "unix://"))
		},
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://engine/_ping", nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("it answers %s", response.Status)
	}
	return nil
}

// log returns the last lines that the engine wrote.
func (e *Engine) log() string {
	text, _ := os.ReadFile(filepath.Join(e.dir, "log"))
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

func (e *Engine) removeContainers(ctx context.Context) error {
	out, err := e.Command(ctx, "ps", "-aq").Output()
	if err != nil {
		return fmt.Errorf("listing the containers: %w", err)
	}
	ids := strings.Fields(string(out))
	if len(ids) == 0 {
		return nil
	}
	if out, err := e.Command(ctx, append([]string{"rm", "-f", "-v"}, ids...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("removing the containers: %w: %s", err, out)
	}
	return nil
}
