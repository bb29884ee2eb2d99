package engine

import (
	"os"
	"path/filepath"
	"syscall"

	"dockline/e2e/leftover"
)

// An engine keeps some things outside of the folders it is given, whatever its options: one file, and folders.
var elsewhere = []string{"/etc/docker/key.json", "/etc/docker", "/run/docker", "/run/containerd", "/opt/containerd"}

// removeTraces removes what is left of an engine that has been told to end, and what it has put into places that were
// absent before. Another engine that has started since loses nothing that it uses.
func (e *Engine) removeTraces() error {
	for _, pid := range leftover.Processes(e.dir + "/exec") { // that did not end by themselves
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	err := leftover.Unmount(e.dir)
	for _, path := range e.traces {
		leftover.Remove(path)
	}
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} { // cgroup v1 and v2
		groups, _ := filepath.Glob(pattern + e.group())
		for _, group := range groups {
			_ = os.Remove(group)
		}
	}
	if err != nil { // nothing is to be removed by way of a mount
		return err
	}
	return os.RemoveAll(e.dir)
}
