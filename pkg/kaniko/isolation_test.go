package kaniko_test

import (
	"encoding/hex"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"dockline/e2e/sandbox"
)

// searching is a Dockerfile whose RUN searches all it can reach for the secret.
func searching(image, secret string) string {
	return "FROM " + image + "\nRUN [\"/bin/probe\", \"search\", \"" + hex.EncodeToString([]byte(secret)) + "\"]\n"
}

// control has the builder go without layers of its protection.
func control(layers string) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) {
		spec.Programs["/kaniko/builder"] = filepath.Join(tools, "control")
		spec.Env = append(spec.Env, "DOCKLINE_CONTROL_WITHOUT="+layers)
	}
}

// belowAShell starts the builder from a process that stands for the shell of a CI job: it has the password in its
// environment, and waits.
func belowAShell(spec *sandbox.Spec) {
	spec.Args = []string{"/kaniko/probe", "run", "/kaniko/builder", "--", "/kaniko/probe", "run", "--"}
}

func both(changes ...func(*sandbox.Spec)) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) {
		for _, change := range changes {
			change(spec)
		}
	}
}

// withToken has a file at a path, which every process that has this root sees there.
func withToken(path string) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) { spec.Files[path] = fileSecret }
}

// belowAHolder starts the builder from a process that holds a file open which has no name any more.
func belowAHolder(spec *sandbox.Spec) {
	spec.Files["/etc/held"] = fileSecret
	spec.Args = append([]string{"/kaniko/probe", "hold", "/etc/held"}, spec.Args...)
}

func withoutCapabilities(capabilities ...uintptr) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) { spec.Without = capabilities }
}

// TestAHostileRunFindsNoSecret: a RUN that searches all it can reach for the secrets of the processes above it finds
// none. Each control goes without some of the protection, and says what then holds and what does not: so the search
// would find a secret if there were one to find.
func TestAHostileRunFindsNoSecret(t *testing.T) {
	t.Parallel()
	image := base(t)
	var (
		noSetpcap = withoutCapabilities(unix.CAP_SETPCAP)
		// what the build then goes without
		setUIDWarning = "LOG warning without CAP_SETPCAP the build is isolated by no_new_privs: set-uid programs in RUN will not work\n"
		inFirst       = []string{"/proc/1/environ", "/proc/1/mem"}
	)
	for name, row := range map[string]struct {
		secret string
		change func(*sandbox.Spec)
		found  []string // the places, all of them; of a control, some of them
	}{
		"as first process": {password, nil, nil},
		"below a shell":    {password, belowAShell, nil},
		"control: capabilities alone keep the first process":        {password, control("shield"), nil},
		"control: being undumpable alone keeps the first process":   {password, control("capabilities"), nil},
		"control: nothing keeps the first process":                  {password, control("shield,capabilities"), inFirst},
		"control: only capabilities keep the shell":                 {password, both(belowAShell, control("capabilities")), inFirst},
		"control: only capabilities, not being undumpable, matter":  {password, both(belowAShell, control("shield")), nil},
		"a build secret that this RUN did not mount":                {buildSecret, nil, nil},
		"control: the child is a RUN's equal but for that it hides": {buildSecret, control("child"), []string{"/mem"}},

		"as first process, without CAP_SETPCAP":       {password, noSetpcap, nil},
		"below a shell, without CAP_SETPCAP":          {password, both(belowAShell, noSetpcap), nil},
		"control: below a shell, without CAP_SETPCAP": {password, both(belowAShell, noSetpcap, control("capabilities")), inFirst},
		"an open file of the shell":                   {fileSecret, belowAHolder, nil},
		"control: an open file of the shell":          {fileSecret, both(belowAHolder, control("capabilities")), []string{"/proc/1/fd/"}},
		"a file of /etc, which goes before the build": {fileSecret, both(belowAShell, withToken("/etc/token")), nil},
		"a file of /kaniko: as its own, not as the shell's": {
			fileSecret, both(belowAShell, withToken("/kaniko/token")), []string{"/kaniko/token"},
		},
		"control: a file of /kaniko, as the shell's": {
			fileSecret, both(belowAShell, withToken("/kaniko/token"), control("capabilities")), []string{"/proc/1/root/kaniko/token"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, searching(image, row.secret), image, row.change)
			if !strings.Contains(output, "LOG  SEARCHED") || !strings.Contains(output, "BUILT sha256:") {
				t.Fatalf("the search did not run (status %d):\n%s", status, output)
			}
			isControl := strings.HasPrefix(name, "control:")
			if found := strings.Count(output, "LOG  FOUND"); found > len(row.found) && !isControl || found < len(row.found) {
				t.Errorf("found in %d places:\n%s", found, output)
			}
			for _, place := range row.found {
				if !regexp.MustCompile("(?m)^LOG  FOUND .*" + regexp.QuoteMeta(place) + "[0-9]*$").MatchString(output) {
					t.Errorf("not found: %s\n%s", place, output)
				}
			}
			if warned := strings.Contains(output, setUIDWarning); warned != (strings.Contains(name, "without CAP_SETPCAP") && !isControl) {
				t.Errorf("warned: %v\n%s", warned, output)
			}
		})
	}
}

// TestARunDumpsNoShell has a RUN end the process above the builder in such a way that the kernel writes its memory into a
// file. The builder goes on below the first process, which looks for that file afterwards.
func TestARunDumpsNoShell(t *testing.T) {
	t.Parallel()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.ContainsAny(string(pattern[:1]), "|@/") {
		t.Skipf("NO DUMP IS TESTED: this machine puts them elsewhere (%q, %v)", pattern, err)
	}
	image := base(t)
	for name, row := range map[string]struct {
		change func(*sandbox.Spec)
		found  bool
	}{
		"a default container":               {func(*sandbox.Spec) {}, false},
		"without CAP_SETPCAP":               {withoutCapabilities(unix.CAP_SETPCAP), false},
		"control: without forbidding dumps": {control("dumps"), true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, _ := inSandbox(t, "FROM "+image+"\nRUN [\"/bin/probe\", \"dump\"]\n", image, both(row.change, func(spec *sandbox.Spec) {
				belowAHolder(spec)
				spec.Env = append(spec.Env, "GOTRACEBACK=crash") // so that a program of Go's ends as others do
				spec.Args = slices.Concat([]string{"/kaniko/probe", "run"}, spec.Args,
					[]string{"--", "/kaniko/probe", "search", hex.EncodeToString([]byte(password))})
			}))
			if !strings.Contains(output, "LOG  DUMP up to ") || !strings.Contains(output, "SEARCHED") {
				t.Fatalf("nothing was tried:\n%s", output)
			}
			if found := regexp.MustCompile(`(?m)^FOUND /core\S*$`).MatchString(output); found != row.found {
				t.Errorf("the dump was found: %v\n%s", found, output)
			}
		})
	}
}

// TestABuildThatCannotBeIsolated has no capability to give up that it could do without.
func TestABuildThatCannotBeIsolated(t *testing.T) {
	t.Parallel()
	var all []uintptr
	for capability := range uintptr(unix.CAP_LAST_CAP + 1) {
		if !slices.Contains([]uintptr{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER}, capability) {
			all = append(all, capability)
		}
	}
	output, status := inSandbox(t, "FROM scratch\nCOPY page /page\n", "", withoutCapabilities(all...))
	if status != 5 || !strings.Contains(output, "ERROR isolating the build: this container has no capability to give up") {
		t.Errorf("exit status %d\n%s", status, output)
	}
}

// TestARunGetsNothingFromTheNetwork: a RUN finds the proxy through which the build pulls, which does not serve it, and
// cannot read what the build and its parent send.
func TestARunGetsNothingFromTheNetwork(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		change func(*sandbox.Spec)
		raw    string // what becomes of each of the two kinds of sockets
	}{
		"a default container":                    {func(*sandbox.Spec) {}, "REFUSED"},
		"without CAP_SETPCAP":                    {withoutCapabilities(unix.CAP_SETPCAP), "REFUSED"},
		"control: without giving anything up":    {control("capabilities"), "OPENED"},
		"a container that has not got it itself": {withoutCapabilities(unix.CAP_NET_RAW), "REFUSED"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, "FROM scratch\nCOPY probe /bin/probe\n"+
				"RUN [\"/bin/probe\", \"ask\", \"http://registry.test/v2/deepsky/base/manifests/1\"]\n"+
				"RUN [\"/bin/probe\", \"raw\"]\n", "registry.test/deepsky/base:1",
				both(row.change, func(spec *sandbox.Spec) {
					spec.OwnNetwork = true
					spec.Programs["/kaniko/context/probe"] = filepath.Join(tools, "probe")
				}))
			if status != 0 || strings.Count(output, "LOG  ASKED") != 3 || strings.Count(output, "LOG  ASKED 407\n") != 3 {
				t.Errorf("exit status %d\n%s", status, output)
			}
			for _, kind := range []string{"packet", "tcp"} {
				if !strings.Contains(output, "LOG  "+row.raw+" "+kind) {
					t.Errorf("a %s socket is not %s\n%s", kind, row.raw, output)
				}
			}
		})
	}
}
