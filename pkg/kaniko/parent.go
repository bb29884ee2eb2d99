package kaniko

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

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
	var pipes pipes
	defer pipes.close()
	orders, answers, log := pipes.new(), pipes.new(), pipes.new()
	output := pipes.new()
	if pipes.err != nil {
		return outcome{}, fault.New(fault.Unexpected, "making pipes: %w", pipes.err)
	}
	command := exec.CommandContext(ctx, "/proc/self/exe")
	command.Args = []string{childName}
	command.Env = append(slices.Clone(b.Environ), childEnvironment...)
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
	var readers sync.WaitGroup
	readers.Go(func() { b.lines(output.read, func(line string) (string, string) { return "", line }) })
	readers.Go(func() { b.lines(log.read, levelOf) })
	sent := send(orders.write, told)
	decoded := json.NewDecoder(io.LimitReader(answers.read, 1<<20)).Decode(&answer)
	_ = command.Wait()
	left := killDescendants()
	readers.Wait()
	switch {
	case ctx.Err() != nil:
		return outcome{}, context.Cause(ctx)
	case left != nil:
		return outcome{}, left
	case sent != nil || decoded != nil:
		return outcome{}, fault.New(fault.BuildFailed, "the build's process ended without an answer (%s)", command.ProcessState)
	}
	return answer, nil
}

func (b Build) lines(from io.Reader, split func(line string) (level, text string)) {
	lines := bufio.NewReaderSize(from, 64<<10)
	for {
		line, err := lines.ReadString('\n')
		if line = strings.TrimRight(line, "\r\n"); line != "" {
			b.say(split(line))
		}
		if err != nil {
			return
		}
	}
}

// said keeps the lines of a build's two outputs apart.
var said sync.Mutex

func (b Build) say(level, text string) {
	if b.Log == nil {
		return
	}
	said.Lock()
	defer said.Unlock()
	b.Log(Line{Level: level, Text: text})
}

func levelOf(line string) (level, text string) {
	level, text, _ = strings.Cut(line, " ")
	return level, text
}

// killDescendants ends every process that the build left: they are this process's children by now, or theirs, because
// it adopts orphans (see Shield).
func killDescendants() error {
	for deadline := time.Now().Add(5 * time.Second); ; {
		left := descendants(os.Getpid())
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		for { // an adopted process stays in the table until its end is read
			var status unix.WaitStatus
			if pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil); pid <= 0 || err != nil {
				break
			}
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fault.New(fault.Unexpected, "ending the build: %d processes are left", len(left))
		}
		time.Sleep(5 * time.Millisecond) // the kernel ends them in its own time
	}
}

func descendants(of int) []int {
	parents := map[int]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		content, err := os.ReadFile(path) //nolint:gosec // below /proc
		if err != nil {
			continue // it has ended
		}
		// "PID (NAME) STATE PARENT …", and a name may hold anything.
		text := string(content)
		fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(fields[1])
		}
	}
	var found []int
	for pid := range parents {
		for ancestor, steps := parents[pid], 0; ancestor > 0 && steps < len(parents); ancestor, steps = parents[ancestor], steps+1 {
			if ancestor == of {
				found = append(found, pid)
				break
			}
		}
	}
	return found
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
