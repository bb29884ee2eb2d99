package kaniko_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dockline/e2e/sandbox"
)

// TestWhatABuildNeeds has containers that lack something: it is named before the build begins.
func TestWhatABuildNeeds(t *testing.T) {
	t.Parallel()
	image := base(t)
	restricted := withoutCapabilities(unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETPCAP,
		unix.CAP_NET_RAW, unix.CAP_KILL, unix.CAP_MKNOD, unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP,
		unix.CAP_NET_BIND_SERVICE, unix.CAP_SYS_CHROOT, unix.CAP_AUDIT_WRITE)
	small := func(bytes int64, variables ...string) func(*sandbox.Spec) {
		return func(spec *sandbox.Spec) {
			spec.Small = map[string]int64{"/small": bytes}
			spec.Env = slices.Concat(spec.Env, []string{"LAYOUT=/small/image"}, variables)
		}
	}
	for name, row := range map[string]struct {
		change func(*sandbox.Spec)
		status int
		says   string
	}{
		"OpenShift's restricted-v2": {restricted, 5, "ERROR building needs the capabilities CHOWN, DAC_OVERRIDE, FOWNER, which this container lacks"},
		"no other users": {withoutCapabilities(unix.CAP_SETUID, unix.CAP_SETGID), 0,
			"LOG warning without the capabilities SETUID, SETGID USER, and programs in RUN that change their user"},
		"an anyuid container":             {withoutCapabilities(unix.CAP_MKNOD), 0, "BUILT sha256:"},
		"a root that holds no base image": {setting("BASE_BYTES=9000000000000000"), 9, `and a base image alone needs 9000000000.0 MB`},
		"a folder that may be too small": {small(64<<20, "BASE_BYTES=2000000"), 0,
			`LOG warning the disk may become full during the build: "/small" has 67.1 MB left`},
		"a folder that turns out to be too small": {small(1 << 20), 9, "no space left on device"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, "FROM "+image+"\nCOPY page /page\n", image, row.change)
			if status != row.status || !strings.Contains(output, row.says) {
				t.Errorf("exit status %d, want %d and %q in\n%s", status, row.status, row.says, output)
			}
		})
	}
}
