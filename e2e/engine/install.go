package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
)

// noServices keeps a package from starting its service when it is installed (invoke-rc.d(8)).
const noServices = "/usr/sbin/policy-rc.d"

// install makes sure that the engine and its client are there. An error says what is missing.
func install(ctx context.Context) error {
	if os.Geteuid() != 0 {
		return errors.New("an engine of one's own needs root")
	}
	if err := lookUp(); err == nil {
		return nil
	} else if _, noDebian := exec.LookPath("apt-get"); noDebian != nil {
		return fmt.Errorf("%w, and only Debian's packages can be installed from here", err)
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
	if err := apt(ctx, "install", "-y", "--no-install-recommends", "docker.io"); err != nil {
		return err
	}
	if _, err := exec.LookPath("docker"); err != nil { // a package of its own since Debian 13
		if err := apt(ctx, "install", "-y", "--no-install-recommends", "docker-cli"); err != nil {
			return err
		}
	}
	return lookUp()
}

func lookUp() error {
	for _, program := range []string{"dockerd", "docker"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("the program %s is missing (Debian's package docker.io)", program)
		}
	}
	return nil
}

func apt(ctx context.Context, args ...string) error {
	command := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=300", "-q"}, args...)...) //nolint:gosec // fixed
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	if out, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("apt-get %s: %w\n%s", args[0], err, out)
	}
	return nil
}
