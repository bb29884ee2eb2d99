package kaniko

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Shield makes this process unreadable to all others (PR_SET_DUMPABLE=0: /proc/PID/environ, mem, fd and root belong to
// the kernel from then on, see prctl(2)), and makes it the parent of every process that a build leaves behind
// (PR_SET_CHILD_SUBREAPER). A program that builds calls it before it reads a secret.
func Shield() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making this process undumpable: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the parent of orphaned processes: %w", err)
	}
	return nil
}
