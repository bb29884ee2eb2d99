package clonebuildpush

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

// The folders of the phases inside.
const checkoutInside, imageInside = "/checkout", "/image"

var forgeProgram = sync.OnceValues(func() ([]byte, error) {
	return baseimage.Program(context.Background(), "dockline/e2e/baseimage/forge")
})

// realPod is a pod of three containers: each phase runs the real program in a sandbox of its own, with its own secrets,
// and with what the phase before it left.
type realPod struct {
	*pod
	results string
}

func newRealPod(t *testing.T, files map[string]string) (*realPod, string) {
	t.Helper()
	s, hash := newRealStage(t, files)
	s.env["CONTEXT_DIR"] = ""
	return &realPod{pod: &pod{stage: s, checkout: t.TempDir(), image: t.TempDir()}, results: t.TempDir()}, hash
}

// container is what a phase's sandbox differs by from that which the documentation asks for.
type container struct {
	args    []string
	mounts  func(*sandbox.Spec)
	changes []string // of the environment
}

func (p *realPod) phase(phase string, other container) (status int, output string) {
	p.t.Helper()
	compiled, err := programs()
	if err != nil {
		p.t.Fatal(err)
	}
	forge, err := forgeProgram()
	if err != nil {
		p.t.Fatal(err)
	}
	ca, err := os.ReadFile(p.env["GIT_CA_FILE"])
	if err != nil {
		p.t.Fatal(err)
	}
	spec := sandbox.Spec{
		Args:     other.args,
		Programs: map[string]string{},
		Files:    map[string]string{kaniko.Marker: "", "/kaniko/git-ca.pem": string(ca)},
		Binds:    map[string]string{"/results": p.results},
		ReadOnly: map[string]string{},
	}
	if spec.Args == nil {
		spec.Args = []string{"/kaniko/bin/clone-build-push"}
	}
	switch phase {
	case phaseClone:
		spec.Binds[checkoutInside], spec.Binds[imageInside] = p.checkout, p.image
	case phaseBuild:
		spec.ReadOnly[checkoutInside], spec.Binds[imageInside] = p.checkout, p.image
	case phasePush:
		spec.ReadOnly[checkoutInside], spec.ReadOnly[imageInside] = p.checkout, p.image
	}
	if other.mounts != nil {
		other.mounts(&spec)
	}
	outside := p.t.TempDir()
	for name, program := range map[string][]byte{
		"clone-build-push": compiled["clone-build-push"], "probe": compiled["probe"], "forge": forge,
	} {
		path := filepath.Join(outside, name)
		if err := os.WriteFile(path, program, 0o700); err != nil { //nolint:gosec // it is to be run
			p.t.Fatal(err)
		}
		spec.Programs["/kaniko/bin/"+name] = path
	}
	for name, value := range p.environment(phase, append([]string{
		"CHECKOUT_DIR", checkoutInside, "IMAGE_DIR", imageInside, "GIT_CA_FILE", "/kaniko/git-ca.pem",
		"KANIKO_DIR", kaniko.Dir, "RESULTS_DIR", "/results", "HOME", "/root",
	}, other.changes...)...) {
		spec.Env = append(spec.Env, name+"="+value)
	}
	box, err := sandbox.New(p.t.TempDir(), spec)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(p.t.Context(), longestBuild)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		p.t.Fatalf("PHASE=%s has not ended after %v:\n%s", phase, longestBuild, out)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		p.t.Fatal(err)
	}
	if strings.Contains(string(out), registryPassword) || strings.Contains(string(out), gitPassword) {
		p.t.Errorf("the output shows a secret:\n%s", out)
	}
	return command.ProcessState.ExitCode(), string(out)
}

func (p *realPod) mustDo(phase string, other container) string {
	p.t.Helper()
	status, output := p.phase(phase, other)
	if status != 0 {
		p.t.Fatalf("PHASE=%s: exit status %d:\n%s", phase, status, output)
	}
	return output
}

// pulling is an account for base images.
func (s *stage) pulling() []string {
	return []string{
		"REGISTRY", s.registry, "REGISTRY_INSECURE", "true", "REGISTRY_USERNAME", "pusher", "REGISTRY_PASSWORD", registryPassword,
	}
}

// TestRealPhasesMakeTheSameImage: three containers, each with its own secret, give the digest that one run gives.
func TestRealPhasesMakeTheSameImage(t *testing.T) {
	t.Parallel()
	p, hash := newRealPod(t, map[string]string{
		"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE\nCOPY page /srv/\nRUN [\"/bin/stamp\", \"/srv/version.txt\", \"1.0\"]\n",
	})
	p.env["REPRODUCIBLE"], p.env["BUILD_ARGS"] = "true", "BASE="+p.registry+"/deepsky/web:1"

	if status, output := p.runInSandbox(nil, t.TempDir(), map[string]string{"IMAGE": "deepsky/hello:whole"}); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	p.env["CACHE_REPO"] = "deepsky/cache"
	p.mustDo(phaseClone, container{})
	p.mustDo(phaseBuild, container{changes: p.pulling()})
	if readResult(p.results, "IMAGE_DIGEST") != "" || p.digest("1.0") != "" {
		t.Error("the build has pushed, or written a result")
	}
	blobs, err := filepath.Glob(filepath.Join(p.image, layoutName, "blobs", "sha256", "*"))
	if err != nil || len(blobs) < 4 {
		t.Errorf("%d blobs: %v", len(blobs), err)
	}
	for _, blob := range blobs {
		if info, err := os.Stat(blob); err != nil || info.Mode().Perm()&0o444 != 0o444 {
			t.Errorf("a push by another user cannot read %s: %v", blob, err)
		}
	}
	p.mustDo(phasePush, container{})
	p.mustDo(phasePush, container{})

	if kept, err := remote.List(p.reference("cache", "any").Context(), account); err != nil || len(kept) != 1 {
		t.Errorf("the cache has %q, %v: want the layer of one RUN", kept, err)
	}

	want := p.digest("whole")
	for _, tag := range []string{"1.0", "commit-" + hash} {
		if got := p.digest(tag); got != want || got == "" {
			t.Errorf("%s is %q, and one run makes %q", tag, got, want)
		}
	}
	if got := readResult(p.results, "IMAGE_DIGEST"); got != want || readResult(p.results, "COMMIT") != hash {
		t.Errorf("result is %q, want %q", got, want)
	}
	if _, content := p.pushed("1.0"); content["srv/page"] != "hello" {
		t.Errorf("the page is %q", content["srv/page"])
	}
}

// hostile is a pod whose Dockerfile runs forge, from a base image of a registry that everyone may read.
func hostile(t *testing.T, arguments string) (*realPod, []string) {
	t.Helper()
	p, _ := newRealPod(t, map[string]string{
		"Dockerfile": "ARG BASE\nFROM $BASE\nRUN [\"/bin/forge\"" + arguments + "]\n",
	})
	program, err := forgeProgram()
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Pack(baseimage.File{Path: "/bin/forge", Content: program})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	reference, err := name.ParseReference(host+"/deepsky/forge:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, base); err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(p.registry, ":")
	p.env["REGISTRY"] = "localhost:" + port // so that /etc/hosts decides where the password goes
	return p, []string{"REGISTRY", host, "REGISTRY_INSECURE", "true", "BUILD_ARGS", "BASE=" + host + "/deepsky/forge:1"}
}

// afterwards is a container whose first process, like Tekton's entrypoint, goes on when the step is done: it tells what
// is left running.
var afterwards = []string{"/kaniko/bin/probe", "run", "/kaniko/bin/clone-build-push", "--", "/kaniko/bin/forge", "left"}

// podHosts gives a container the /etc/hosts that a RUN has written: Kubernetes mounts one file in all of a pod's.
func podHosts(spec *sandbox.Spec) { spec.Files["/etc/hosts"] = "127.0.0.66 localhost\n" }

// TestAHostileRunForgesNoHandover has a RUN that attacks all that is handed on, without a stop, until it is killed: the
// build, which has no credential at all, goes on to its end, and what was built is pushed to where it should.
func TestAHostileRunForgesNoHandover(t *testing.T) {
	t.Parallel()
	p, base := hostile(t, "")
	p.mustDo(phaseClone, container{})
	output := p.mustDo(phaseBuild, container{args: afterwards, changes: base})
	if !strings.Contains(output, "ATTACKED") || !strings.Contains(output, "LEFT 0") ||
		strings.Contains(output, "CHANGED") || strings.Contains(output, "FOUND") {
		t.Errorf("want an attack that changes and finds nothing, and no daemon left:\n%s", output)
	}
	if got := readResult(p.results, "IMAGE_DIGEST"); got != "" {
		t.Errorf("the build left the result %q", got)
	}
	p.mustDo(phasePush, container{mounts: podHosts})
	if got := readResult(p.results, "IMAGE_DIGEST"); got == "" || got != p.digest("1.0") {
		t.Errorf("result is %q, and 1.0 %q", got, p.digest("1.0"))
	}
	if _, content := p.pushed("1.0"); content["etc/hosts"] != "127.0.0.66 localhost\n" {
		t.Errorf("the attack did not take place: /etc/hosts is %q", content["etc/hosts"])
	}

	control, output := p.phase(phaseClone, container{args: []string{"/kaniko/bin/forge"}}) // whose folders can be written to
	if control != 0 || !strings.Contains(output, "CHANGED a file") || !strings.Contains(output, "CHANGED the folder") || !strings.Contains(output, "FOUND the key") {
		t.Errorf("the attack finds nothing where it could:\n%s", output)
	}
}

// TestARunThatKillsTheBuildIsNotPushed: the RUN lives on, as it could while a pod's next container is started, but
// nothing that it writes is sealed.
func TestARunThatKillsTheBuildIsNotPushed(t *testing.T) {
	t.Parallel()
	p, base := hostile(t, `, "kill"`)
	p.mustDo(phaseClone, container{})
	_, output := p.phase(phaseBuild, container{args: afterwards, changes: base})
	if !strings.Contains(output, "LEFT 1") { // what the RUN printed may have gone with the parent
		t.Fatalf("want a daemon that lives on:\n%s", output)
	}
	status, output := p.phase(phasePush, container{})
	if last := lastLineOf(output); status != 3 || !strings.Contains(last, "not sealed by the build of this checkout") {
		t.Errorf("exit status %d, want 3:\n%s", status, output)
	}
	if p.digest("1.0") != "" || readResult(p.results, "IMAGE_DIGEST") != "" {
		t.Error("something was pushed, or a forged result is left")
	}
	if status, output := p.phase(phaseBuild, container{changes: base}); status != 4 || !strings.Contains(lastLineOf(output), "run PHASE=clone again") {
		t.Errorf("another build: exit status %d, want 4:\n%s", status, output)
	}
}

// TestABuildRefusesACheckoutThatARunCouldChange does not begin.
func TestABuildRefusesACheckoutThatARunCouldChange(t *testing.T) {
	t.Parallel()
	p, base := hostile(t, "")
	p.mustDo(phaseClone, container{})
	for description, row := range map[string]struct {
		mounts func(*sandbox.Spec)
		text   string
	}{
		"mounted for writing": {func(spec *sandbox.Spec) {
			delete(spec.ReadOnly, checkoutInside)
			spec.Binds[checkoutInside] = p.checkout
		}, "mount it read-only"},
		"mounted for writing elsewhere": {func(spec *sandbox.Spec) { spec.Binds["/workspace"] = p.checkout }, `by way of "/workspace"`},
		"a part of it mounted for writing elsewhere": {func(spec *sandbox.Spec) {
			spec.Binds["/workspace"] = filepath.Join(p.checkout, sourceName)
		}, `by way of "/workspace"`},
		"no mount for the image": {func(spec *sandbox.Spec) {
			delete(spec.Binds, imageInside)
			key, err := os.ReadFile(filepath.Join(p.image, sealName))
			if err != nil {
				t.Error(err)
			}
			spec.Files[filepath.Join(imageInside, sealName)] = string(key)
		}, `the image's folder "/image" lies on the file system that the build replaces`},
	} {
		status, output := p.phase(phaseBuild, container{mounts: row.mounts, changes: base})
		if status != 3 || !strings.Contains(lastLineOf(output), row.text) || strings.Contains(output, "ATTACKED") {
			t.Errorf("%s: exit status %d, want 3, with %q in the last line:\n%s", description, status, row.text, output)
		}
	}
}
