package kaniko

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// endLimit is how long processes are waited for that have been killed. They are gone within milliseconds, unless they
// wait for a disk; those that multiply faster than they are killed are not waited for longer.
const endLimit = 4 * time.Second

// ErrLeft is in the chain of the error of a build that may have left processes, so that nothing on disk can be trusted to
// stay as it is.
var ErrLeft = errors.New("processes of the build are left")

// killDescendants ends every process of which this one is an ancestor, and returns when none is left. A daemon that
// left its parent is found too, because this process adopts orphans (see Shield). Its errors have ErrLeft in the chain.
func killDescendants() error {
	for deadline := time.Now().Add(endLimit); ; {
		left, err := descendants(os.Getpid())
		if err != nil {
			return fault.New(fault.Unexpected, "%w, or cannot be looked for: %w", ErrLeft, err)
		}
		if len(left) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			return fault.New(fault.BuildFailed, "ending the build: %w: %d cannot be killed", ErrLeft, len(left))
		}
		for _, pid := range left {
			_ = unix.Kill(pid, unix.SIGKILL)
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil) // an adopted one stays in the table until its end is read
		}
		time.Sleep(2 * time.Millisecond) // the kernel ends them in its own time
	}
}

// descendants lists the processes, ended ones in the table included, that have this ancestor.
func descendants(of int) ([]int, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	parents := map[int]int{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		parent, err := parentOf(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has just ended
		}
		if err != nil {
			return nil, err
		}
		parents[pid] = parent
	}
	if _, ok := parents[os.Getpid()]; !ok {
		return nil, errors.New("/proc does not show this process") // so it would not show the others
	}
	var found []int
	for pid := range parents {
		ancestor := parents[pid]
		for range len(parents) { // an id that is used again meanwhile could close a circle
			if ancestor == of || ancestor == 0 {
				break
			}
			ancestor = parents[ancestor]
		}
		if ancestor == of {
			found = append(found, pid)
		}
	}
	return found, nil
}

func parentOf(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, err
	}
	parent, err := parentIn(string(text))
	if err != nil {
		return 0, fmt.Errorf("reading the parent of process %d: %w", pid, err)
	}
	return parent, nil
}

// parentIn reads "PID (NAME) STATE PARENT …", where a name may hold anything (proc_pid_stat(5)).
func parentIn(stat string) (int, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, fmt.Errorf("unknown form %q", stat)
	}
	return strconv.Atoi(fields[1])
}

// reap reads the ends of the processes that this one adopts while a build runs, so that a RUN which waits for a daemon to
// end sees it end. The process with the id except is somebody else's to wait for. An error of stop is a crash.
func reap(except int) (stop func() error) {
	ended, done, stopped := make(chan os.Signal, 1), make(chan struct{}), make(chan struct{})
	signal.Notify(ended, unix.SIGCHLD)
	var crash error
	go func() {
		defer close(stopped)
		defer fault.Catch(&crash)
		for {
			select {
			case <-ended:
			case <-done:
				return
			}
			adopted, _ := descendants(os.Getpid()) // at the end of the build an error counts
			for _, pid := range adopted {
				if pid != except {
					_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
				}
			}
		}
	}()
	return func() error {
		signal.Stop(ended)
		close(done)
		<-stopped
		return crash
	}
}
