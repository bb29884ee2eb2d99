package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// An engine keeps some things outside of the folders it is given, whatever its options.
var elsewhere = []string{"/etc/docker/key.json", "/etc/docker", "/run/docker", "/run/containerd", "/opt/containerd"}

// absent lists those that are not there yet.
func absent() []string {
	var out []string
	for _, path := range elsewhere {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			out = append(out, path)
		}
	}
	return out
}

// removeTraces removes what the engine has put into places that were absent before: the one file, and folders that are
// empty. Another engine that has started since loses nothing that it uses.
func removeTraces(paths []string) {
	for _, path := range paths {
		var folders []string
		_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				folders = append(folders, path)
			}
			return nil
		})
		if len(folders) == 0 {
			folders = []string{path}
		}
		for i := len(folders) - 1; i >= 0; i-- {
			_ = os.Remove(folders[i])
		}
	}
}

// killRest kills what is left of an engine that did not end by itself: processes whose command line names its folder.
func (e *Engine) killRest() {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		line, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err != nil || !strings.Contains(string(line), e.dir+"/exec") {
			continue
		}
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// unmount takes off what is still mounted in the engine's folder, the innermost first.
func (e *Engine) unmount() error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(table), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], e.dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmounting %q: %w", fields[1], err)
			}
		}
	}
	return nil
}

// removeGroups removes the control groups that the engine has put its containers into (cgroup v1 and v2).
func (e *Engine) removeGroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/", "/sys/fs/cgroup/*/"} {
		groups, _ := filepath.Glob(pattern + e.group())
		for _, group := range groups {
			_ = os.Remove(group)
		}
	}
}
