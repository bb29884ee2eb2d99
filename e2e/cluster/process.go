package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"dockline/e2e/leftover"
)

// start starts a program that outlives us. Its output is in NAME.log, its process id in NAME.pid. Every program has
// the cluster's folder in its arguments, by which it is known again.
func (c Cluster) start(name string, environment []string, program string, args ...string) error {
	log, err := os.Create(c.in(name + ".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	command := exec.Command(program, args...) //nolint:gosec // ours
	// Debian keeps some of what containerd starts where an ordinary PATH does not look.
	command.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
	command.Env = append(command.Env, environment...)
	command.Dir = c.Dir
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return err
	}
	go func() { _ = command.Wait() }() // while we are there, it is ours to bury
	return os.WriteFile(c.in(name+".pid"), []byte(strconv.Itoa(command.Process.Pid)), 0o600)
}

// part starts a part of Kubernetes.
func (c Cluster) part(name string, args ...string) error {
	return c.start(name, nil, filepath.Join(c.Programs, name), args...)
}

// alive is an error when a program has ended.
func (c Cluster) alive(name string) error {
	if c.process(name) == 0 {
		return fmt.Errorf("%s has ended", name)
	}
	return nil
}

// process is the id of a program's process, 0 when there is none.
func (c Cluster) process(name string) int {
	text, err := os.ReadFile(c.in(name + ".pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || !c.ours(pid) {
		return 0
	}
	return pid
}

// ours tells whether a process is one of this cluster's.
func (c Cluster) ours(pid int) bool {
	return leftover.Names(pid, c.Dir+"/")
}

// stop ends a program, and waits until it is gone.
func (c Cluster) stop(name string, signal syscall.Signal) {
	pid := c.process(name)
	if pid == 0 {
		return
	}
	_ = syscall.Kill(pid, signal)
	for range 100 {
		if !c.ours(pid) {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
}

// logs are the last lines that each program has written.
func (c Cluster) logs() string {
	paths, _ := filepath.Glob(c.in("*.log"))
	var out strings.Builder
	for _, path := range paths {
		text, _ := os.ReadFile(path)
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		fmt.Fprintf(&out, "\n--- %s\n%s", filepath.Base(path), strings.Join(lines[max(0, len(lines)-12):], "\n"))
	}
	return out.String()
}
