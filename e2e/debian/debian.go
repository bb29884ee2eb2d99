// Package debian installs packages on the machine that tests run on, where that is a Debian and we are root.
package debian

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
)

// noServices keeps a package from starting its service when it is installed (invoke-rc.d(8)).
const noServices = "/usr/sbin/policy-rc.d"

// Need makes sure that programs are there, given with the package that each is in: only those that are missing are
// installed. An error says what is missing.
func Need(ctx context.Context, programs map[string]string) error {
	missing := lookUp(programs)
	if len(missing) == 0 {
		return nil
	}
	if _, err := exec.LookPath("apt-get"); err != nil || os.Geteuid() != 0 {
		return fmt.Errorf("there is no %s, and only root can install it, on Debian", missing[0])
	}
	unlock, err := alone()
	if err != nil {
		return err
	}
	defer unlock()
	if missing = lookUp(programs); len(missing) == 0 {
		return nil // another test has installed them meanwhile
	}
	if _, err := os.Stat(noServices); errors.Is(err, fs.ErrNotExist) {
		if err := os.WriteFile(noServices, []byte("#!/bin/sh\nexit 101\n"), 0o755); err != nil { //nolint:gosec // a program
			return err
		}
		defer os.Remove(noServices)
	}
	if err := apt(ctx, "update"); err != nil {
		return err
	}
	var packages []string
	for _, program := range missing {
		packages = append(packages, programs[program])
	}
	slices.Sort(packages)
	packages = slices.Compact(packages)
	if err := apt(ctx, append([]string{"install", "-y", "--no-install-recommends"}, packages...)...); err != nil {
		return err
	}
	if missing = lookUp(programs); len(missing) > 0 {
		return fmt.Errorf("the program %s is missing (Debian's package %s)", missing[0], programs[missing[0]])
	}
	return nil
}

// alone waits until nobody else installs, in this process or in another: apt-get waits for the lock on packages
// (DPkg::Lock::Timeout), but not for the one on their lists.
func alone() (unlock func(), err error) {
	lock, err := os.OpenFile(filepath.Join(os.TempDir(), "dockline-apt.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil { //nolint:gosec // a file descriptor
		return nil, errors.Join(err, lock.Close())
	}
	return func() { _ = lock.Close() }, nil
}

func lookUp(programs map[string]string) (missing []string) {
	for _, program := range slices.Sorted(maps.Keys(programs)) {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program)
		}
	}
	return missing
}

func apt(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300", "-o", "Acquire::Retries=3", "-q"}, args...)...) //nolint:gosec // fixed
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
