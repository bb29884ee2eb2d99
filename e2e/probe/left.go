package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// left counts the processes that are alive beside this one and the first.
func left() (found int) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(paths) == 0 {
		fail(fmt.Errorf("listing the processes: %d of them, %w", len(paths), err))
	}
	for _, path := range paths {
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if err != nil || pid == 1 || pid == os.Getpid() {
			continue
		}
		stat, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			continue // it has just ended
		}
		if fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]); len(fields) > 0 && string(fields[0]) != "Z" {
			found++
		}
	}
	return found
}

// fill writes until it cannot.
func fill(path string) {
	file, err := os.Create(path) //nolint:gosec // the test's
	if err != nil {
		fail(err)
	}
	for block := make([]byte, 1<<20); ; {
		if _, err := file.Write(block); err != nil {
			fail(err)
		}
	}
}
