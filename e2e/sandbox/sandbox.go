// Package sandbox runs a static program as a container engine would, without one: in a private mount and PID namespace,
// with a root file system of its own and a default container's capabilities. As root it needs nothing else; an ordinary
// user gets a user namespace in which he is root and every file is his. The network stays the host's, so that what
// runs inside reaches servers on loopback.
//
// The program that uses the package must call [Init] before anything else: the first process inside is that very
// program, executed again.
package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// initName is the name under which the first process inside is started.
const initName = "dockline-sandbox"

// Spec says what to run, and what it finds inside.
type Spec struct {
	Args     []string          // the program's path inside and its arguments
	Env      []string          // its whole environment
	Programs map[string]string // path inside → static program outside, copied
	Files    map[string]string // path inside → content
	Binds    map[string]string // file or folder inside → one outside, shared with the host for reading and writing
	// ReadOnly is Binds for reading only.
	ReadOnly map[string]string
	// Small mounts file systems of their own: folder inside → bytes that fit.
	Small map[string]int64
	// Capable leaves every capability, as a privileged container has them. The default is a default container's set.
	Capable bool
	// Without lists capabilities that a container which is not Capable goes without (unix.CAP_SETPCAP).
	Without []uintptr
	// Room bounds what can be written to the root file system, in bytes, beside what it begins with. The default is what
	// the disk has.
	Room int64
	// OwnNetwork has the container see a loopback interface of its own, on which nothing listens, instead of the host's
	// network.
	OwnNetwork bool
}

// Sandbox is one root file system; a program can be run in it more than once, one after another.
type Sandbox struct {
	root string
	spec Spec
}

// New prepares a root file system under dir, which must be empty, and which the caller removes.
func New(dir string, spec Spec) (*Sandbox, error) {
	for _, folder := range []string{"proc", "dev", "etc", "tmp", "root", "kaniko"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil { //nolint:gosec // a root file system
			return nil, err
		}
	}
	files := map[string]string{
		"/etc/passwd": "root:x:0:0:root:/root:/bin/sh\n", "/etc/group": "root:x:0:\n",
		"/etc/hosts": "127.0.0.1 localhost\n::1 localhost\n", "/etc/resolv.conf": "",
		"/etc/nsswitch.conf": "hosts: files dns\n",
	}
	for path, content := range spec.Files {
		files[path] = content
	}
	for path, content := range files {
		if err := write(filepath.Join(dir, path), strings.NewReader(content), 0o644); err != nil {
			return nil, err
		}
	}
	for path, from := range spec.Programs {
		program, err := os.Open(from) //nolint:gosec // the caller's own program
		if err != nil {
			return nil, err
		}
		err = write(filepath.Join(dir, path), program, 0o755)
		if err := errors.Join(err, program.Close()); err != nil {
			return nil, err
		}
	}
	for path := range spec.Small {
		if err := os.MkdirAll(filepath.Join(dir, path), 0o755); err != nil { //nolint:gosec // a root file system
			return nil, err
		}
	}
	for _, binds := range []map[string]string{spec.Binds, spec.ReadOnly} {
		for path, outside := range binds {
			if err := mountPoint(filepath.Join(dir, path), outside); err != nil {
				return nil, err
			}
		}
	}
	return &Sandbox{root: dir, spec: spec}, nil
}

// Prepared is a root file system that New has prepared for such a Spec, in another process.
func Prepared(dir string, spec Spec) *Sandbox { return &Sandbox{root: dir, spec: spec} }

// Root is the root file system as seen from outside.
func (s *Sandbox) Root() string { return s.root }

// Command returns the command that runs the program inside. When it ends, or ctx does, every process inside has ended.
func (s *Sandbox) Command(ctx context.Context) (*exec.Cmd, error) {
	plan, err := json.Marshal(inner{
		Root: s.root, Args: s.spec.Args, Binds: s.spec.Binds, ReadOnly: s.spec.ReadOnly, Capable: s.spec.Capable,
		Without: s.spec.Without, Room: s.spec.Room, OwnNetwork: s.spec.OwnNetwork, Small: s.spec.Small,
	})
	if err != nil {
		return nil, err
	}
	command := exec.CommandContext(ctx, "/proc/self/exe")
	command.Args = []string{initName, string(plan)}
	command.Env = s.spec.Env
	if command.Env == nil {
		command.Env = []string{}
	}
	command.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWIPC,
		Pdeathsig:  syscall.SIGKILL,
	}
	if s.spec.OwnNetwork {
		command.SysProcAttr.Cloneflags |= unix.CLONE_NEWNET
	}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	return command, nil
}

// Available says why a sandbox cannot be had here, naming the setting to change; nil means that it can.
func Available() error {
	command := exec.Command("/proc/self/exe")
	command.Args = []string{initName, ""}
	command.SysProcAttr = &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWPID}
	if os.Geteuid() != 0 {
		command.SysProcAttr.Cloneflags |= unix.CLONE_NEWUSER
		command.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		command.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := command.CombinedOutput()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("making a private namespace: %w %s", err, strings.TrimSpace(string(out)))
	for setting, wanted := range map[string]string{
		"kernel/unprivileged_userns_clone": "1", "kernel/apparmor_restrict_unprivileged_userns": "0",
	} {
		content, readError := os.ReadFile("/proc/sys/" + setting)
		if value := strings.TrimSpace(string(content)); readError == nil && value != wanted {
			return fmt.Errorf("%w: run as root, or set sysctl %s=%s", err, strings.ReplaceAll(setting, "/", "."), wanted)
		}
	}
	if content, readError := os.ReadFile("/proc/sys/user/max_user_namespaces"); readError == nil &&
		strings.TrimSpace(string(content)) == "0" {
		return fmt.Errorf("%w: run as root, or set sysctl user.max_user_namespaces=10000", err)
	}
	return fmt.Errorf("%w: run as root, or outside of a container that forbids namespaces", err)
}

// mountPoint makes what outside can be mounted at: a folder, or an empty file.
func mountPoint(path, outside string) error {
	info, err := os.Stat(outside)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return write(path, strings.NewReader(""), 0o600)
	}
	return os.MkdirAll(path, 0o755) //nolint:gosec // a root file system
}

func write(path string, content io.Reader, mode fs.FileMode) error {
	// A process that is forked now, by whichever goroutine, would hold the file open for writing until it is another
	// program, and keep this one from being started ("text file busy").
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a root file system
		return err
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, mode) //nolint:gosec // below the new root
	if err != nil {
		return err
	}
	_, err = io.Copy(file, content)
	return errors.Join(err, file.Close())
}
