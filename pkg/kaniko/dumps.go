package kaniko

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// forbidDumps has no process of this container dump its memory into a file (core(5)). A RUN cannot read the memory of the
// shell or the entrypoint above the step, but it is root like them: it could send them a signal that ends them with such
// a file, which it can read, and raise their limit of it before. A limit that is lowered here cannot be raised again
// without CAP_SYS_RESOURCE, which no RUN has.
//
// It does not hold where the machine hands dumps to a program instead (core_pattern "|PROGRAM"), for that has no limit.
// Most keep dumps to themselves; the warning is of one that gives them back to containers.
func forbidDumps() (warning string, err error) {
	if without("dumps") {
		return "", nil
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return "", fault.New(fault.Denied, "looking for processes that could dump their memory: %w", err)
	}
	ours, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return "", fault.New(fault.Denied, "looking for processes that could dump their memory: %w", err)
	}
	var left []string
	above := false // whether there is one that a RUN could end so
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue // this one dumps nothing (see Shield), and what it starts inherits its limits
		}
		// Where the machine's processes show, or those of a pod's other containers, these are none of our business.
		if theirs, err := os.Readlink("/proc/" + entry.Name() + "/ns/mnt"); err != nil || theirs != ours {
			continue
		}
		// The kernel lets no signal from within a container end its first process.
		above = above || pid != 1
		if err := unix.Prlimit(pid, unix.RLIMIT_CORE, &unix.Rlimit{}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			left = append(left, fmt.Sprintf("%d (%v)", pid, err))
		}
	}
	if len(left) > 0 {
		return "a RUN could have these processes dump their memory into a file: " + strings.Join(left, ", "), nil
	}
	if pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern"); above && err == nil && givesDumpsBack(string(pattern)) {
		return "this machine gives dumps of memory to the container they come from, where a RUN could read that of the " +
			"shell above this step: switch Apport off on machines that build", nil
	}
	return "", nil
}

// givesDumpsBack says whether dumps go to Ubuntu's Apport, which passes them on to whoever listens at /run/apport.socket in
// the container.
func givesDumpsBack(pattern string) bool {
	return strings.HasPrefix(pattern, "|") && strings.Contains(pattern, "apport")
}
