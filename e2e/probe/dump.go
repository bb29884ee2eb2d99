package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// dump has the kernel write the memory of a process above this one into a file: it looks at whose process it is, and not
// at its capabilities. The first process of a container is out of reach, since no signal from within ends it.
func dump(report io.Writer) {
	target := outermost()
	var limit unix.Rlimit
	if err := unix.Prlimit(target, unix.RLIMIT_CORE, nil, &limit); err != nil {
		fmt.Fprintln(report, "DUMP", err)
	}
	limit.Cur = limit.Max
	if err := unix.Prlimit(target, unix.RLIMIT_CORE, &limit, nil); err != nil {
		fmt.Fprintln(report, "DUMP", err)
	}
	fmt.Fprintln(report, "DUMP up to", limit.Max, "bytes")
	if err := unix.Kill(target, unix.SIGQUIT); err != nil {
		fmt.Fprintln(report, "DUMP", err)
	}
}

// outermost is the ancestor of this process whose parent is the first.
func outermost() (ancestor int) {
	for pid := os.Getpid(); pid > 1; {
		ancestor = pid
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			fail(err)
		}
		var state string // "PID (NAME) STATE PARENT …"
		if _, err := fmt.Sscan(string(stat[bytes.LastIndexByte(stat, ')')+1:]), &state, &pid); err != nil {
			fail(err)
		}
	}
	return ancestor
}
