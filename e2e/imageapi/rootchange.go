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

// findRootChange returns the best way that is allowed here.
func findRootChange() rootChange {
	for _, change := range []rootChange{rootByChroot, rootByNamespace} {
		if change.allowed() {
			return change
		}
	}
	return rootBySelf
}

// allowed tries it out on a harmless program, whose new root is the old one, so that it needs no files of its own.
func (c rootChange) allowed() bool {
	harmless, err := exec.LookPath("true")
	if err != nil {
		return c == rootBySelf
	}
	command := &exec.Cmd{Path: harmless, Args: []string{"true"}, SysProcAttr: &syscall.SysProcAttr{}}
	c.apply(command, "/", defaultRunAs)
	return command.Run() == nil
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
