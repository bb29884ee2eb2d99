//go:build e2e

package image_test

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/faultyregistry"
	"dockline/e2e/gitserver"
)

// loot is what the environment of a job holds, by the variable's name: what the step is given, and what is there for other
// steps of the same job.
var loot = map[string]string{
	"REGISTRY_PASSWORD":        password,
	"GIT_PASSWORD":             "the-git-server-s-own-password",
	"KUBE_TOKEN":               "token-of-the-account-that-deploys",
	"TARGET_REGISTRY_PASSWORD": "password-of-production-s-registry",
	"CI_JOB_TOKEN":             "glcbt-64_token-of-this-very-job",
	"CI_REGISTRY_PASSWORD":     "password-of-gitlab-s-own-registry",
	"BUILD_SECRET_NPM":         "a-build-secret-that-no-run-mounts",
}

// proxyPasswords are what stands before the password with which the build asks its parent for base images: in the proxy's
// address, and in the requests' header.
var proxyPasswords = map[string]string{"proxy address": "http://build:", "proxy header": "Basic YnVpbGQ6"}

// hostile is a Dockerfile that searches all it can reach. What for is told in hexadecimal digits.
const hostile = `ARG BASE
FROM $BASE AS first
ARG LOOT
RUN for thing in $LOOT; do /bin/probe search $thing; done
FROM $BASE
COPY --from=first /etc/passwd /srv/passwd
`

// attacker is a hostile Dockerfile among the servers of a build.
type attacker struct {
	*testing.T
	registry *faultyregistry.Registry
	git      *gitserver.Server
	dir      string            // with the Git server's certificate
	loot     map[string]string // what is searched for
	without  bool              // a control: the program goes without its protection
}

// The programs, each compiled once: what a RUN searches with, and clone-build-push linked so that it can go without its
// protection.
var (
	probe   = sync.OnceValues(func() ([]byte, error) { return compile("-ldflags=-s -w", "dockline/e2e/probe") })
	control = sync.OnceValues(func() ([]byte, error) {
		return compile("-ldflags=-s -w -X dockline/pkg/kaniko.control=yes", "dockline/cmd/clone-build-push")
	})
)

// compile has Go build a static program.
func compile(args ...string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	var flags []string
	if args[0] == "-C" { // must come first
		flags, args = args[:2], args[2:]
	}
	build := exec.Command("go", slices.Concat([]string{"build"}, flags, []string{"-trimpath", "-o", dir + "/program"}, args)...)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling %q: %w: %s", args[len(args)-1], err, out)
	}
	return os.ReadFile(dir + "/program")
}

// newAttack starts the servers.
func newAttack(t *testing.T) *attacker {
	t.Helper()
	searching, err := probe()
	if err != nil {
		t.Fatal(err)
	}
	busybox, err := os.ReadFile(project + "/.build/rootfs/kaniko/busybox/busybox")
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Pack(
		baseimage.File{Path: "/bin/busybox", Content: busybox}, baseimage.File{Path: "/bin/sh", Content: busybox},
		baseimage.File{Path: "/bin/probe", Content: searching})
	if err != nil {
		t.Fatal(err)
	}
	a := &attacker{T: t, registry: faultyregistry.Start(t), dir: t.TempDir(), loot: maps.Clone(loot)}
	maps.Copy(a.loot, proxyPasswords)
	a.registry.Login(user, password)
	if err := remote.Write(reference(t, a.base()), base, account); err != nil {
		t.Fatal(err)
	}
	repositories := t.TempDir()
	_, err = gitserver.Commit(filepath.Join(repositories, "hello.git"), "develop", "Search", gitserver.Text(map[string]string{"Dockerfile": hostile}))
	if err != nil {
		t.Fatal(err)
	}
	a.git, err = gitserver.Start(gitserver.Options{Root: repositories, Username: user, Password: loot["GIT_PASSWORD"]}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.git.Close)
	write(t, filepath.Join(a.dir, "git-ca.pem"), string(a.git.CA))
	return a
}

func (a *attacker) base() string { return a.registry.Host() + "/deepsky/base:1" }

// withControl is the same attack on a program without its protection, which is mounted in the image's place.
func (a *attacker) withControl(t *testing.T) *attacker {
	t.Helper()
	program, err := control()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(a.dir, "control"), program, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	copied := *a
	copied.T, copied.without = t, true
	return &copied
}

// settings are the environment of the step, for a version of the image, without what is secret.
func (a *attacker) settings(version string) map[string]string {
	var searched []string
	for _, name := range slices.Sorted(maps.Keys(a.loot)) {
		searched = append(searched, hex.EncodeToString([]byte(a.loot[name])))
	}
	return map[string]string{
		"IMAGE": hello + ":" + version, "REGISTRY": a.registry.Host(), "REGISTRY_INSECURE": "true", "REGISTRY_USERNAME": user,
		"BUILD_ARGS": "BASE=" + a.base() + ",LOOT=" + strings.Join(searched, " "),
		// Nobody can have the shipped program go without its protection: this is for the control, and given to both.
		"DOCKLINE_CONTROL_WITHOUT": "shield,capabilities,child,dumps",
	}
}

// clone are the further settings of a step that clones, without what is secret.
func (a *attacker) clone() map[string]string {
	return map[string]string{
		"GIT_URL": a.git.URL + "/hello.git", "GIT_REVISION": "develop", "GIT_USERNAME": user, "GIT_CA_FILE": "/git-ca.pem",
	}
}

// options are for `docker run` and `docker create`: none weakens or strengthens what a container is by default. Only the
// network is to be the machine's, since the servers listen on its loopback.
func (a *attacker) options(environments ...map[string]string) []string {
	args := []string{"-v", a.dir + "/git-ca.pem:/git-ca.pem:ro"}
	if a.without {
		args = append(args, "-v", a.dir+"/control:/kaniko/bin/clone-build-push:ro")
	}
	for _, environment := range environments {
		for name, value := range environment {
			args = append(args, "-e", name+"="+value)
		}
	}
	return args
}

var searchLine = regexp.MustCompile(`(FOUND|SEARCHED) ([^\s\x1b]+)`)

// judge reads what the RUNs wrote: nothing must have been found, or, by a control, everything in a process that is not
// the RUN's own.
func (a *attacker) judge(status int, output, version string) {
	a.Helper()
	if status != 0 {
		a.Fatalf("exit status %d\n%s", status, output)
	}
	for name, secret := range a.loot {
		if _, pattern := proxyPasswords[name]; !pattern && strings.Contains(output, secret) {
			a.Errorf("%s is in the output", name)
		}
	}
	names := slices.Sorted(maps.Keys(a.loot))
	found := map[string][]string{}
	searched := 0
	for _, line := range searchLine.FindAllStringSubmatch(output, -1) {
		switch {
		case searched == len(names):
			a.Fatalf("too many searches:\n%s", output)
		case line[1] == "FOUND":
			found[names[searched]] = append(found[names[searched]], line[2])
		default:
			searched++
		}
	}
	if searched != len(names) {
		a.Fatalf("%d searches, want %d\n%s", searched, len(names), output)
	}
	for _, name := range names {
		if !a.without && len(found[name]) > 0 {
			a.Errorf("%s was found in %q", name, found[name])
		}
		if a.without && !slices.ContainsFunc(found[name], func(place string) bool { return strings.HasPrefix(place, "/proc/") }) {
			a.Errorf("control: %s was found in %q, and not in a process", name, found[name])
		}
	}
	if _, err := remote.Head(reference(a.T, a.registry.Host()+"/"+hello+":"+version), account); err != nil {
		a.Errorf("the image was not pushed: %v\n%s", err, output)
	}
	a.Logf("%d searches, found: %v", searched, found)
}

// TestAHostileBuildFindsNothingAsFirstProcess has the step be the container's first process, which is given every secret.
func TestAHostileBuildFindsNothingAsFirstProcess(t *testing.T) {
	t.Parallel()
	both(t, newAttack(t), func(a *attacker, version string) (int, string) {
		args := append([]string{"run", "--rm", "--network", "host"}, a.options(a.settings(version), a.clone(), loot)...)
		status, stdout, stderr := run(a.T, append(args, image, "clone-build-push")...)
		return status, stdout + stderr
	})
}

// both runs an attack on the image as it is shipped, and on one without protection.
func both(t *testing.T, a *attacker, build func(a *attacker, version string) (status int, output string)) {
	t.Helper()
	t.Run("shipped", func(t *testing.T) {
		t.Parallel()
		shipped := *a
		shipped.T = t
		status, output := build(&shipped, "shipped")
		shipped.judge(status, output, "shipped")
	})
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		a := a.withControl(t)
		status, output := build(a, "control")
		a.judge(status, output, "control")
	})
}

// TestAHostileBuildFindsNothingBelowGitLabsShell has the step be a command of a job's script. The runner gives the job's
// variables to the container, and exports them once more in the script, which it sends to a shell: a forked one runs it.
func TestAHostileBuildFindsNothingBelowGitLabsShell(t *testing.T) {
	t.Parallel()
	a := newAttack(t)
	delete(a.loot, "GIT_PASSWORD") // the runner has cloned, with the job's token
	both(t, a, func(a *attacker, version string) (int, string) {
		work, files := a.project()
		environment := a.settings(version)
		maps.Copy(environment, loot)
		delete(environment, "GIT_PASSWORD")
		environment["KUBECONFIG"] = "/builds/deepsky/hello.tmp/KUBECONFIG"
		id := newJob(a.T, work, a.registry, version, append(a.options(environment), "-v", files+":/builds/deepsky/hello.tmp")...)
		status, stdout, stderr := script(a.T, id, gitlabScript(environment, "clone-build-push\necho \"and on, by $KUBE_TOKEN\" | busybox wc -c"))
		if want := fmt.Sprintln(len("and on, by ") + len(loot["KUBE_TOKEN"]) + 1); !strings.HasSuffix(stdout, want) {
			a.Errorf("the script did not go on:\n%s%s", stdout, stderr)
		}
		return status, stdout + stderr
	})
}

// project is a work tree as the runner leaves it, and its folder of file variables beside it.
func (a *attacker) project() (work, files string) {
	a.Helper()
	work, files = a.TempDir(), a.TempDir()
	write(a.T, filepath.Join(work, "Dockerfile"), hostile)
	write(a.T, filepath.Join(files, "KUBECONFIG"), "users: [{user: {token: "+loot["KUBE_TOKEN"]+"}}]\n")
	for _, args := range [][]string{
		{"init", "--quiet"},
		{"remote", "add", "origin", "https://gitlab-ci-token:" + loot["CI_JOB_TOKEN"] + "@gitlab.test/deepsky/hello.git"},
	} {
		command := exec.Command("git", append([]string{"-C", work}, args...)...)
		command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		if out, err := command.CombinedOutput(); err != nil {
			a.Fatalf("git %s: %v\n%s", args[0], err, out)
		}
	}
	return work, files
}

// gitlabScript is a job's script as the runner writes it for a shell (shells/bash.go).
func gitlabScript(environment map[string]string, lines string) string {
	quote := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	var inner strings.Builder
	for name, value := range environment {
		inner.WriteString("export " + name + "=" + quote(value) + "\n")
	}
	inner.WriteString("cd /builds/deepsky/hello\n" + lines + "\n")
	return "if set -o | grep pipefail > /dev/null; then set -o pipefail; fi; set -o errexit\nset +o noclobber\n: | eval " +
		quote(inner.String()) + "\nexit 0\n"
}

// TestAHostileBuildDumpsNoShell has a RUN end the shell that runs the job's script in such a way that the kernel writes its
// memory into a file, in the work tree. The first process of the container ends then, too, and the build with it.
func TestAHostileBuildDumpsNoShell(t *testing.T) {
	t.Parallel()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil || strings.ContainsAny(string(pattern[:1]), "|@/") {
		t.Skipf("NO DUMP IS TESTED: this machine puts them elsewhere (%q, %v)", pattern, err)
	}
	a := newAttack(t)
	dump := func(a *attacker) (found bool, output string) {
		work, _ := a.project()
		write(a.T, filepath.Join(work, "Dockerfile"), "ARG BASE\nFROM $BASE\nRUN /bin/probe dump /builds/deepsky/hello/attempt && /bin/probe wait\n")
		environment := a.settings("dumped")
		maps.Copy(environment, loot)
		delete(environment, "GIT_PASSWORD")
		environment["BUILD_ARGS"] = "BASE=" + a.base()
		id := newJob(a.T, work, a.registry, "dumped", a.options(environment)...)
		status, stdout, stderr := script(a.T, id, gitlabScript(environment, "clone-build-push"))
		output = stdout + stderr
		// The work tree keeps what the RUN says: its output may end with the container.
		attempt, err := os.ReadFile(filepath.Join(work, "attempt"))
		limit := map[bool]string{false: "0", true: "[1-9][0-9]*"}[a.without]
		if err != nil || !regexp.MustCompile("^DUMP up to "+limit+" bytes\n$").Match(attempt) {
			a.Fatalf("the RUN says %q (%v), want a limit of %s:\n%s", attempt, err, limit, output)
		}
		if ended := 128 + int(syscall.SIGQUIT); status != ended {
			a.Errorf("exit status %d of a shell that was to end by a signal, want %d:\n%s", status, ended, output)
		}
		dumps, err := filepath.Glob(work + "/core*")
		if err != nil {
			a.Fatal(err)
		}
		for _, path := range dumps {
			content, err := os.ReadFile(path)
			if err != nil {
				a.Fatal(err)
			}
			found = found || bytes.Contains(content, []byte(loot["KUBE_TOKEN"]))
		}
		return found, output
	}
	t.Run("shipped", func(t *testing.T) {
		t.Parallel()
		shipped := *a
		shipped.T = t
		if found, output := dump(&shipped); found {
			t.Errorf("a dump holds a secret:\n%s", output)
		}
	})
	t.Run("control", func(t *testing.T) {
		t.Parallel()
		if found, output := dump(a.withControl(t)); !found {
			t.Errorf("control: no dump holds the secret:\n%s", output)
		}
	})
}
