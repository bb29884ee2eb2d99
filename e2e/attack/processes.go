package attack

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// others lists the processes but this one.
func others() []int {
	var found []int
	names, _ := filepath.Glob("/proc/[0-9]*")
	for _, name := range names {
		if pid, err := strconv.Atoi(filepath.Base(name)); err == nil && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

// each asks about the other processes until one gives something.
func each(ask func(pid int) (evidence string, err error)) (evidence, why string) {
	for _, pid := range others() {
		found, err := ask(pid)
		if found != "" {
			return found, ""
		}
		if err != nil {
			why = err.Error()
		}
	}
	return "", why
}

func environ(g Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		path := fmt.Sprintf("/proc/%d/environ", pid)
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(g.Secret("registry"))) {
			return path, nil
		}
		return "", err
	})
}

func memory(g Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		process := fmt.Sprintf("/proc/%d", pid)
		if memoryHolds(process, []byte(g.Secret("registry"))) {
			return process + "/mem", nil
		}
		_, err := os.Open(process + "/mem") //nolint:gosec // to tell why
		return "", err
	})
}

func threadMemory(g Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/[0-9]*", pid))
		for _, thread := range threads {
			if filepath.Base(thread) != strconv.Itoa(pid) && memoryHolds(thread, []byte(g.Secret("registry"))) {
				return thread + "/mem", nil
			}
		}
		return "", errors.New("no other thread can be read")
	})
}

func openFiles(g Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		folder := fmt.Sprintf("/proc/%d/fd", pid)
		entries, err := os.ReadDir(folder)
		for _, entry := range entries {
			if path := filepath.Join(folder, entry.Name()); fileHolds(path, []byte(g.Secret("held"))) {
				return path, nil
			}
		}
		return "", err
	})
}

func roots(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		path := fmt.Sprintf("/proc/%d/root/etc/passwd", pid)
		_, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		return path, nil
	})
}

func folders(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		path := fmt.Sprintf("/proc/%d/cwd", pid)
		_, err := os.ReadDir(path + "/")
		if err != nil {
			return "", err
		}
		return path, nil
	})
}

func maps(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		path := fmt.Sprintf("/proc/%d/maps", pid)
		content, err := os.ReadFile(path)
		if len(content) == 0 {
			return "", err
		}
		return path, nil
	})
}

// seize attaches without stopping the process, which is let go when this thread ends.
func seize(Given) (evidence, why string) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	return each(func(pid int) (string, error) {
		if _, _, errno := unix.RawSyscall6(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(pid), 0, 0, 0, 0); errno != 0 {
			return "", errno
		}
		return fmt.Sprintf("process %d", pid), nil
	})
}

// textStart is where a program's instructions begin that is not moved about in memory, as Go's are not.
const textStart = 0x400000

func readMemory(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		start := uintptr(textStart)
		if first, _, found := strings.Cut(readable(pid), "-"); found {
			if address, err := strconv.ParseUint(first, 16, 63); err == nil {
				start = uintptr(address)
			}
		}
		buffer := make([]byte, 16)
		local := []unix.Iovec{{Base: &buffer[0], Len: uint64(len(buffer))}}
		_, err := unix.ProcessVMReadv(pid, local, []unix.RemoteIovec{{Base: start, Len: len(buffer)}}, 0)
		if err != nil {
			return "", err
		}
		return fmt.Sprintf("process %d", pid), nil
	})
}

// readable is the first range of a process's memory, where that is told.
func readable(pid int) string {
	content, _ := os.ReadFile(fmt.Sprintf("/proc/%d/maps", pid))
	first, _, _ := strings.Cut(string(content), "\n")
	return first
}

func copyFiles(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		process, err := unix.PidfdOpen(pid, 0)
		if err != nil {
			return "", err
		}
		defer unix.Close(process) //nolint:errcheck // nothing was written
		var last error
		for descriptor := range 16 {
			copied, err := unix.PidfdGetfd(process, descriptor, 0)
			if err == nil {
				_ = unix.Close(copied)
				return fmt.Sprintf("file %d of process %d", descriptor, pid), nil
			}
			last = err
		}
		return "", last
	})
}

// above is environ, or mem.
func above(g Given) (evidence, why string) {
	if evidence, why = environ(g); evidence != "" {
		return evidence, why
	}
	return memory(g)
}

// regained is the word for the copy.
const regained = "regained"

// regain copies this program, gives the copy all that a default container may have, and runs it.
func regain(g Given) (evidence, why string) {
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return "", err.Error()
	}
	path := "/regained"
	if err := os.WriteFile(path, self, 0o755); err != nil { //nolint:gosec // a program
		return "", err.Error()
	}
	defer os.Remove(path) //nolint:errcheck // hostile as it is
	if err := unix.Setxattr(path, "security.capability", fileCapabilities(), 0); err != nil {
		return "", err.Error()
	}
	said, err := exec.Command(path, "attack", g.Words(), regained).CombinedOutput()
	if err != nil {
		return "", err.Error()
	}
	if found, ok := strings.CutPrefix(strings.TrimSpace(string(said)), "ATTACK file-capability WON "); ok {
		return found, ""
	}
	return "", strings.TrimSpace(string(said))
}

// fileCapabilities is the attribute of a file whose program has the capabilities of a default container, effective
// (struct vfs_cap_data, revision 2).
func fileCapabilities() []byte {
	const revision, effective = 0x02000000, 1
	var set uint64
	for _, capability := range []int{
		unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FSETID, unix.CAP_FOWNER, unix.CAP_MKNOD, unix.CAP_NET_RAW,
		unix.CAP_SETGID, unix.CAP_SETUID, unix.CAP_SETFCAP, unix.CAP_SETPCAP, unix.CAP_NET_BIND_SERVICE,
		unix.CAP_SYS_CHROOT, unix.CAP_KILL, unix.CAP_AUDIT_WRITE,
	} {
		set |= 1 << capability
	}
	out := binary.LittleEndian.AppendUint32(nil, revision|effective)
	for _, half := range []uint32{uint32(set), uint32(set >> 32)} { //nolint:gosec // the two halves
		out = binary.LittleEndian.AppendUint32(out, half) // permitted
		out = binary.LittleEndian.AppendUint32(out, 0)    // inheritable
	}
	return out
}

// aroundTheOutput writes a line of its own to where the processes above it write.
func aroundTheOutput(Given) (evidence, why string) {
	return each(func(pid int) (string, error) {
		path := fmt.Sprintf("/proc/%d/fd/1", pid)
		file, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			return "", err
		}
		defer file.Close()
		if _, err := fmt.Fprintln(file, aroundLine); err != nil {
			return "", err
		}
		return path, nil
	})
}

func corePattern(Given) (evidence, why string) {
	const path = "/proc/sys/kernel/core_pattern"
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return "", err.Error()
	}
	_ = file.Close() // nothing is written
	return path, ""
}

func mountSomething(Given) (evidence, why string) {
	const at = "/mounted"
	if err := os.MkdirAll(at, 0o755); err != nil { //nolint:gosec // hostile
		return "", err.Error()
	}
	if err := unix.Mount("tmpfs", at, "tmpfs", 0, ""); err != nil {
		return "", err.Error()
	}
	_ = unix.Unmount(at, 0)
	return at, ""
}
