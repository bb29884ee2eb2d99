package kaniko

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// Ready says whether a build may take place here: only in our image or sandbox, whatever is allowed, because Kaniko
// deletes the root file system it is in. A stray /.dockerenv, by which Kaniko itself would judge, means nothing.
//
// It is fault.Denied where the container is not root's, or lacks a capability without which nothing can be unpacked, and,
// unless allowPrivileged, where a RUN could take over the machine, and every credential with it: in a privileged container,
// and where the socket of a container engine is mounted.
func Ready(allowPrivileged bool) error { return ready("/", os.Getenv("KANIKO_DIR"), allowPrivileged) }

func ready(root, kanikoDir string, allowPrivileged bool) error {
	info, err := os.Lstat(root + strings.TrimPrefix(Marker, "/"))
	if err != nil || !info.Mode().IsRegular() || kanikoDir != Dir {
		return fault.WithHint(fault.New(fault.Refused,
			"refusing to build: this is not Dockline's image (%s and KANIKO_DIR=%s mark it), and a build deletes the file system around it",
			Marker, Dir), "run the step in Dockline's image")
	}
	program, err := os.Executable()
	if err != nil || !below(program, Dir) {
		return fault.New(fault.Refused, "refusing to build: the program is %q, not below %s, and the build would delete it",
			program, Dir)
	}
	if os.Geteuid() != 0 {
		return fault.WithHint(fault.New(fault.Denied, "building needs user 0, and this is user %d", os.Geteuid()),
			"run the step as root (securityContext.runAsUser: 0); on OpenShift with a SecurityContextConstraints that allows it, such as anyuid")
	}
	have, err := capabilities()
	if err != nil {
		return err
	}
	if err := checkCapabilities(have); err != nil {
		return err
	}
	if allowPrivileged {
		return nil
	}
	around, err := look(root)
	if err != nil {
		return fault.New(fault.Denied, "looking whether the container is privileged: %w", err)
	}
	if why := around.dangers(); len(why) > 0 {
		return fault.WithHint(
			fault.New(fault.Denied, "refusing to build: %s, so a RUN could read every secret", strings.Join(why, " and ")),
			"run the step unprivileged, or accept that with ALLOW_PRIVILEGED=true")
	}
	return nil
}

// MountPoints are the paths at which something is mounted here, the root aside: no part of an image that is built here.
func MountPoints() ([]string, error) {
	around, err := look("/")
	if err != nil {
		return nil, fmt.Errorf("looking at what is mounted: %w", err)
	}
	var points []string
	for _, mount := range around.mounts {
		if mount.point != "/" {
			points = append(points, mount.point)
		}
	}
	return points, nil
}

// surroundings is what decides whether a RUN can be held.
type surroundings struct {
	capabilities uint64
	uidMap       string // of this process (user_namespaces(7))
	mounts       []mount
	sockets      []string // engines'
}

// mount is one line of the mount table.
type mount struct {
	device   string // of the file system
	root     string // the folder of that file system which is mounted
	point    string // where
	readOnly bool
}

// engineSockets give whoever opens them the machine.
var engineSockets = []string{
	"docker.sock", "containerd.sock", "crio.sock", "podman.sock", "buildkitd.sock", "cri-dockerd.sock",
}

// usualSockets is where they are in a directory that is mounted whole.
var usualSockets = []string{
	"/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/var/run/containerd/containerd.sock",
	"/run/crio/crio.sock", "/var/run/crio/crio.sock", "/run/podman/podman.sock", "/run/k3s/containerd/containerd.sock",
	"/run/buildkit/buildkitd.sock", "/run/cri-dockerd.sock", "/var/run/cri-dockerd.sock",
}

func look(root string) (surroundings, error) {
	var around surroundings
	var err error
	if around.capabilities, err = capabilities(); err != nil {
		return around, err
	}
	mapping, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return around, err
	}
	around.uidMap = string(mapping)
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return around, err
	}
	if around.mounts, err = parseMounts(string(table)); err != nil {
		return around, err
	}
	around.sockets = findSockets(root, around.mounts)
	return around, nil
}

// dangers tells, in words, by what a RUN could get out.
func (s surroundings) dangers() []string {
	var why []string
	// In a user namespace of its own the container is privileged over nothing but itself.
	if strings.Join(strings.Fields(s.uidMap), " ") == "0 0 4294967295" {
		// An engine gives it to privileged containers, whose devices it does not restrict: CAP_MKNOD, which every
		// container has, then opens the machine's disks.
		if s.capabilities&(1<<unix.CAP_SYS_ADMIN) != 0 {
			why = append(why, "the container is privileged (CAP_SYS_ADMIN)")
		}
		// Engines mount it read-only but in privileged containers. Root writes core_pattern without any capability,
		// and the kernel runs what it names, on the machine.
		if !mountOf("/proc/sys", s.mounts).readOnly {
			why = append(why, "the machine's kernel settings can be changed (/proc/sys is writable)")
		}
	}
	for _, path := range s.sockets {
		why = append(why, "the engine's socket is mounted at "+path)
	}
	return why
}

// findSockets lists the engines' sockets that can be reached, each once.
func findSockets(root string, mounts []mount) []string {
	candidates := slices.Clone(usualSockets)
	for _, mount := range mounts {
		if slices.Contains(engineSockets, filepath.Base(mount.point)) {
			candidates = append(candidates, mount.point)
		}
	}
	var found, seen []string
	for _, path := range candidates {
		real, err := filepath.EvalSymlinks(filepath.Join(root, path))
		if err != nil || slices.Contains(seen, real) {
			continue
		}
		if info, err := os.Stat(real); err == nil && info.Mode().Type() == os.ModeSocket {
			found, seen = append(found, path), append(seen, real)
		}
	}
	return found
}

// parseMounts reads a mount table (proc_pid_mountinfo(5)).
func parseMounts(table string) ([]mount, error) {
	var mounts []mount
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		if len(fields) < 6 {
			return nil, fmt.Errorf("reading the mount table: unknown form %q", line)
		}
		mounts = append(mounts, mount{
			device: fields[2], root: mountEscapes.Replace(fields[3]),
			point: mountEscapes.Replace(fields[4]), readOnly: slices.Contains(strings.Split(fields[5], ","), "ro"),
		})
	}
	return mounts, nil
}

// mountEscapes are the characters that the kernel does not print as they are.
var mountEscapes = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// mountOf returns the mount on which a path lies. Of two at one point the later covers the earlier.
func mountOf(path string, mounts []mount) mount {
	var found mount
	for _, mount := range mounts {
		if len(mount.point) >= len(found.point) && below(path, mount.point) {
			found = mount
		}
	}
	return found
}

// below says whether a path is dir, or in it.
func below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
}
