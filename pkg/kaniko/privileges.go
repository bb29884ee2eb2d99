package kaniko

import (
	"errors"
	"runtime"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// childCapabilities are those of a container that Docker starts without further options, less two.
//
// CAP_SETPCAP: the kernel refuses /proc/PID/{environ,mem,fd,root} to a process whose capabilities do not include all of
// the target's (cap_ptrace_access_check): by the one that is missing, no RUN can look into the parent, nor into the
// shell or the entrypoint above it.
//
// CAP_NET_RAW: a RUN, or what it leaves running, shares the parent's network, and would read the credentials that the
// parent sends for base images where a registry speaks plain http, and the password of the parent's proxy.
const childCapabilities uint64 = 1<<unix.CAP_CHOWN | 1<<unix.CAP_DAC_OVERRIDE | 1<<unix.CAP_FSETID |
	1<<unix.CAP_FOWNER | 1<<unix.CAP_MKNOD | 1<<unix.CAP_SETGID | 1<<unix.CAP_SETUID |
	1<<unix.CAP_SETFCAP | 1<<unix.CAP_NET_BIND_SERVICE | 1<<unix.CAP_SYS_CHROOT | 1<<unix.CAP_KILL |
	1<<unix.CAP_AUDIT_WRITE

// lessPrivileged calls start on a thread that has given up what a RUN must not have; a process that start starts
// inherits that. The thread ends afterwards. The warning, if any, tells what the build goes without.
func lessPrivileged(start func() error) (warning string, err error) {
	if without("capabilities") {
		return "", start()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer fault.Catch(&err)
		runtime.LockOSThread() // and never unlocked: the thread goes with the goroutine
		if unix.Gettid() == unix.Getpid() {
			// The main thread cannot end, and its capabilities are those that the kernel compares when somebody wants to
			// read this process: had it given them up, a RUN would be its equal. While it is taken, this goes elsewhere.
			warning, err = lessPrivileged(start)
			runtime.UnlockOSThread()
			return
		}
		if warning, err = giveUp(); err == nil {
			err = start()
		}
	}()
	<-done
	return warning, err
}

// giveUp drops capabilities from the calling thread, for good.
func giveUp() (warning string, err error) {
	have, err := capabilities()
	if err != nil {
		return "", err
	}
	keep := have & childCapabilities
	if have&(1<<unix.CAP_SETPCAP) != 0 {
		for capability := uintptr(0); capability < 64; capability++ {
			if childCapabilities&(1<<capability) != 0 {
				continue
			}
			err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
			if errors.Is(err, unix.EINVAL) {
				break // the kernel knows no more; it may know more than this program does
			}
			if err != nil {
				return "", fault.New(fault.Denied, "dropping capability %d from the bounding set: %w", capability, err)
			}
		}
		return "", setCapabilities(keep)
	}
	if keep == have {
		// One capability less is enough, and these are what a build misses least.
		for _, capability := range []uint64{
			unix.CAP_AUDIT_WRITE, unix.CAP_NET_BIND_SERVICE, unix.CAP_MKNOD, unix.CAP_SYS_CHROOT,
		} {
			if keep&(1<<capability) != 0 {
				keep &^= 1 << capability
				break
			}
		}
	}
	if keep == have {
		return "", fault.New(fault.Denied, "isolating the build: this container has no capability to give up (%#x)", have)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return "", fault.New(fault.Denied, "isolating the build without CAP_SETPCAP: %w", err)
	}
	return "without CAP_SETPCAP the build is isolated by no_new_privs: set-uid programs in RUN will not work",
		setCapabilities(keep)
}

func capabilities() (permitted uint64, err error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fault.New(fault.Unexpected, "reading the capabilities: %w", err)
	}
	return uint64(data[0].Permitted) | uint64(data[1].Permitted)<<32, nil
}

// setCapabilities sets the permitted and effective sets, and empties the inheritable and the ambient one.
func setCapabilities(set uint64) error {
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fault.New(fault.Denied, "clearing the ambient capabilities: %w", err)
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(set&0xffffffff), uint32(set>>32) //nolint:gosec // the two halves
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return fault.New(fault.Denied, "giving up capabilities: %w", err)
	}
	return nil
}
