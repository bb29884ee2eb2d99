package kaniko

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Shield makes this process unreadable to all others (PR_SET_DUMPABLE=0: /proc/PID/environ, mem, fd and root belong to
// the kernel from then on, see prctl(2)), and makes it the parent of every process that a build leaves behind
// (PR_SET_CHILD_SUBREAPER). A program that builds calls it before it reads a secret.
func Shield() error {
	if err := undumpable("shield"); err != nil {
		return err
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("becoming the parent of orphaned processes: %w", err)
	}
	return nil
}

func undumpable(layer string) error {
	if without(layer) {
		return nil
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("making this process undumpable: %w", err)
	}
	return nil
}

// The protection has layers, each of which the tests switch off to show what the others hold, and that their search
// finds a secret when none does. That takes a program that was linked for it: control is empty in all others, and
// nothing that is given to them changes that.
var control string

// controlVariable lists the layers that a control goes without: "shield", "capabilities", "child", "dumps".
const controlVariable = "DOCKLINE_CONTROL_WITHOUT"

func without(layer string) bool {
	return control == "yes" && slices.Contains(strings.Split(os.Getenv(controlVariable), ","), layer)
}
