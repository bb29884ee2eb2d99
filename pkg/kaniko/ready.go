package kaniko

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// engineSockets give whoever opens them the machine.
var engineSockets = []string{"docker.sock", "containerd.sock", "crio.sock", "podman.sock"}

// Ready says whether a build may take place here: only in our image or sandbox, because Kaniko deletes the root file
// system it is in, and not where a RUN could take over the machine. A stray /.dockerenv, by which Kaniko itself would
// judge, means nothing.
func Ready(allowPrivileged bool) error { return ready("/", os.Getenv("KANIKO_DIR"), allowPrivileged) }

func ready(root, kanikoDir string, allowPrivileged bool) error {
	info, err := os.Lstat(root + strings.TrimPrefix(Marker, "/"))
	if err != nil || !info.Mode().IsRegular() || kanikoDir != Dir {
		return fault.WithHint(fault.New(fault.Refused,
			"refusing to build: this is not Dockline's image (%s and KANIKO_DIR=%s mark it), and a build deletes the file system around it",
			Marker, Dir), "run the step in Dockline's image")
	}
	if os.Geteuid() != 0 {
		return fault.WithHint(fault.New(fault.Denied, "building needs user 0, and this is user %d", os.Geteuid()),
			"run the step as root; on OpenShift with a SecurityContextConstraints that allows it, such as anyuid")
	}
	if allowPrivileged {
		return nil
	}
	have, err := capabilities()
	if err != nil {
		return err
	}
	mapping, _ := os.ReadFile("/proc/self/uid_map")
	if have&(1<<unix.CAP_SYS_ADMIN) != 0 && strings.Join(strings.Fields(string(mapping)), " ") == "0 0 4294967295" {
		return privileged("the container is privileged (CAP_SYS_ADMIN)")
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fault.New(fault.Unexpected, "reading the mounts: %w", err)
	}
	for _, path := range append(mountPoints(string(mounts)), "/var/run/docker.sock", "/run/docker.sock",
		"/run/containerd/containerd.sock", "/run/crio/crio.sock", "/run/podman/podman.sock") {
		for _, socket := range engineSockets {
			if _, err := os.Stat(path); err == nil && strings.HasSuffix(path, "/"+socket) {
				return privileged("the engine's socket is mounted at " + path)
			}
		}
	}
	return nil
}

func privileged(why string) error {
	return fault.WithHint(fault.New(fault.Denied, "refusing to build: %s, so a RUN could read every secret", why),
		"run the step unprivileged, or accept that with ALLOW_PRIVILEGED=true")
}

func mountPoints(mountinfo string) []string {
	var paths []string
	for line := range strings.Lines(mountinfo) {
		if fields := strings.Fields(line); len(fields) > 4 {
			paths = append(paths, fields[4])
		}
	}
	return paths
}
