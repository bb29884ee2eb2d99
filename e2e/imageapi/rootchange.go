package imageapi

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// rootChange is how a process gets the image's files for its root.
type rootChange int

const (
	rootBySelf      rootChange = iota // not at all: it is told the folder in ROOT
	rootByChroot                      // we may change the root, being root ourselves
	rootByNamespace                   // in a user namespace we may
)

// findRootChange tries out what the kernel allows, with a harmless program: ourselves asking for nothing.
func findRootChange() rootChange {
	for _, change := range []rootChange{rootByChroot, rootByNamespace} {
		if change == rootByChroot && os.Geteuid() != 0 {
			continue
		}
		probe, err := exec.LookPath("true")
		if err != nil {
			return rootBySelf
		}
		// The probe's root is the machine's own, so that it needs no files of its own.
		command := &exec.Cmd{Path: probe, Args: []string{"true"}, SysProcAttr: &syscall.SysProcAttr{}}
		change.apply(command, "/", defaultRunAs)
		if command.Run() == nil {
			return change
		}
	}
	return rootBySelf
}

// apply changes a command that was prepared as if root were its root already.
func (c rootChange) apply(command *exec.Cmd, root string, runAs uint32) {
	switch c {
	case rootByChroot:
		command.SysProcAttr.Chroot = root
		command.SysProcAttr.Credential = &syscall.Credential{Uid: runAs, Gid: 0, NoSetGroups: false}
	case rootByNamespace:
		command.SysProcAttr.Chroot = root
		command.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: int(runAs), HostID: os.Geteuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	default:
		command.Path = filepath.Join(root, command.Path)
		command.Dir = filepath.Join(root, strings.TrimPrefix(command.Dir, "/"))
		command.Env = append(command.Env, "ROOT="+root)
	}
}
