// Package leftover finds and takes away what programs leave on the machine that the tests have started in folders of
// their own: processes, mounts, and what they put elsewhere whatever their options.
package leftover

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// Names tells whether a process has a text in its command line, such as the path of the folder that it works in. One that
// has ended has none.
func Names(pid int, text string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(line), text)
}

// Processes are the ids of all processes that name a text, but this one.
func Processes(text string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil && pid != os.Getpid() && Names(pid, text) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Unmount takes off what is mounted below a folder, the innermost first.
func Unmount(dir string) error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	for _, line := range slices.Backward(strings.Split(string(table), "\n")) {
		fields := strings.Fields(line)
		if len(fields) > 1 && strings.HasPrefix(fields[1], dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmounting %q: %w", fields[1], err)
			}
		}
	}
	return nil
}

// Absent lists those of some paths that are not there yet.
func Absent(paths []string) (absent []string) {
	for _, path := range paths {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			absent = append(absent, path)
		}
	}
	return absent
}

// Remove removes a file, or a folder and those below it as far as they are empty. What somebody else has put there stays.
func Remove(path string) {
	var folders []string
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	if len(folders) == 0 {
		_ = os.Remove(path)
	}
	for _, folder := range slices.Backward(folders) {
		_ = os.Remove(folder)
	}
}
