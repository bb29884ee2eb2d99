package sandbox

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sys/unix"
)

// inner is what the first process inside is told.
type inner struct {
	Root       string
	Args       []string
	Binds      map[string]string
	ReadOnly   map[string]string
	Capable    bool
	Without    []uintptr
	Room       int64
	OwnNetwork bool
	Small      map[string]int64
}

// defaultCapabilities are those of a container that an engine starts without further options.
var defaultCapabilities = []uintptr{
	unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW,
	unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
	unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
}

// devices are what a container finds in /dev, as far as a user namespace may show it.
var devices = []string{"null", "zero", "full", "random", "urandom", "tty"}

// Init becomes the first process of a sandbox when this process was started as one, and returns otherwise.
func Init() {
	if len(os.Args) != 2 || os.Args[0] != initName {
		return
	}
	if os.Args[1] == "" { // a question of Available
		os.Exit(0)
	}
	var plan inner
	err := json.Unmarshal([]byte(os.Args[1]), &plan)
	if err == nil {
		runtime.LockOSThread()
		err = enter(plan)
	}
	fmt.Fprintln(os.Stderr, "sandbox:", err)
	os.Exit(125)
}

// enter makes the root file system the process's own, and becomes the program. It returns only when it could not.
func enter(plan inner) error {
	// Nothing that is mounted here may show outside.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("making mounts private: %w", err)
	}
	if err := mountRoot(plan); err != nil {
		return fmt.Errorf("mounting the root: %w", err)
	}
	if err := unix.Mount("proc", filepath.Join(plan.Root, "proc"), "proc",
		unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mounting /proc: %w", err)
	}
	if !plan.Capable {
		sys := filepath.Join(plan.Root, "proc/sys")
		if err := readOnly(sys, sys); err != nil {
			return err
		}
	}
	if err := mountDevices(filepath.Join(plan.Root, "dev")); err != nil {
		return err
	}
	for inside, bytes := range plan.Small {
		err := unix.Mount("tmpfs", filepath.Join(plan.Root, inside), "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d", bytes))
		if err != nil {
			return fmt.Errorf("mounting %q: %w", inside, err)
		}
	}
	for inside, outside := range plan.Binds {
		if err := unix.Mount(outside, filepath.Join(plan.Root, inside), "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting %q: %w", inside, err)
		}
	}
	for inside, outside := range plan.ReadOnly {
		if err := readOnly(outside, filepath.Join(plan.Root, inside)); err != nil {
			return err
		}
	}
	// The old root is put out of reach altogether: a build that deletes its root file system deletes only this one.
	if err := os.Chdir(plan.Root); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return fmt.Errorf("changing the root: %w", err)
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return fmt.Errorf("leaving the old root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	if plan.OwnNetwork {
		if err := upLoopback(); err != nil {
			return fmt.Errorf("bringing loopback up: %w", err)
		}
	}
	if !plan.Capable {
		isLeftOut := func(capability uintptr) bool { return slices.Contains(plan.Without, capability) }
		if err := keep(slices.DeleteFunc(slices.Clone(defaultCapabilities), isLeftOut)); err != nil {
			return err
		}
	}
	return fmt.Errorf("starting %q: %w", plan.Args[0], unix.Exec(plan.Args[0], plan.Args, os.Environ()))
}

// mountRoot makes the root a mount: of the folder that it is, or of a small file system with the same files.
func mountRoot(plan inner) error {
	if plan.Room == 0 {
		return unix.Mount(plan.Root, plan.Root, "", unix.MS_BIND|unix.MS_REC, "")
	}
	outside, err := os.OpenRoot(plan.Root) // which stays what it is when something is mounted there
	if err != nil {
		return err
	}
	defer outside.Close() //nolint:errcheck // it is only read
	size := plan.Room
	err = fs.WalkDir(outside.FS(), ".", func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			size += info.Size() + int64(os.Getpagesize()) // it takes whole pages
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := unix.Mount("tmpfs", plan.Root, "tmpfs", 0, fmt.Sprintf("mode=755,size=%d", size)); err != nil {
		return err
	}
	return os.CopyFS(plan.Root, outside.FS())
}

// readOnly mounts a folder for reading only, as engines do with /proc/sys but in a privileged container.
func readOnly(from, path string) error {
	if err := unix.Mount(from, path, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mounting %q: %w", path, err)
	}
	const flags = unix.MS_BIND | unix.MS_REMOUNT | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if err := unix.Mount("", path, "", flags, ""); err != nil {
		return fmt.Errorf("making %q read-only: %w", path, err)
	}
	return nil
}

func mountDevices(dev string) error {
	if err := unix.Mount("tmpfs", dev, "tmpfs", unix.MS_NOSUID, "mode=755"); err != nil {
		return fmt.Errorf("mounting /dev: %w", err)
	}
	for _, name := range devices {
		path := filepath.Join(dev, name)
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			return err
		}
		if err := unix.Mount("/dev/"+name, path, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mounting /dev/%s: %w", name, err)
		}
	}
	return nil
}

// upLoopback switches the loopback interface on, which is off in a new network namespace.
func upLoopback() error {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(socket) //nolint:errcheck // nothing was written
	loopback, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	loopback.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(socket, unix.SIOCSIFFLAGS, loopback)
}

// keep drops all capabilities but these, from the bounding set too.
func keep(capabilities []uintptr) error {
	var wanted uint64
	for _, capability := range capabilities {
		wanted |= 1 << capability
	}
	for capability := uintptr(0); capability <= unix.CAP_LAST_CAP; capability++ {
		if wanted&(1<<capability) == 0 {
			if err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0); err != nil && err != unix.EINVAL { //nolint:errorlint // an errno; an older kernel does not know the capability
				return fmt.Errorf("dropping a capability: %w", err)
			}
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(wanted&0xffffffff), uint32(wanted>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fmt.Errorf("setting the capabilities: %w", err)
	}
	return nil
}
