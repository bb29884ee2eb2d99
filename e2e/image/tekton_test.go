//go:build e2e

package image_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// pod runs the steps of a TaskRun in containers, one after another, as Tekton and the kubelet do: Tekton's own
// entrypoint is the first process of each, and the folders that they share are mounted where Tekton mounts them.
type pod struct {
	*attacker
	dir   string
	steps int // how many there are
}

// entrypoint is Tekton's, of the version that our files are checked against. The tag leaves out SPIRE, which needs modules
// that the check does not.
var entrypoint = sync.OnceValues(func() ([]byte, error) {
	return compile("-C", project+"/e2e/tekton", "-tags", "disable_spire", "-ldflags=-s -w", "github.com/tektoncd/pipeline/cmd/entrypoint")
})

// newPod lays out the volumes of a TaskRun, and puts the entrypoint there, as Tekton's first init container does.
func newPod(a *attacker, steps int) *pod {
	a.Helper()
	p := &pod{attacker: a, dir: a.TempDir(), steps: steps}
	folders := []string{"bin", "workspace", "home", "results", "steps", "artifacts", "checkout", "image", "tmp"}
	for step := range steps {
		folders = append(folders, "run/"+strconv.Itoa(step), "creds/"+strconv.Itoa(step))
	}
	for _, folder := range folders {
		folder = filepath.Join(p.dir, folder)
		if err := errors.Join(os.MkdirAll(folder, 0o755), os.Chmod(folder, 0o777)); err != nil { //nolint:gosec // an emptyDir is everybody's
			a.Fatal(err)
		}
	}
	program, err := entrypoint()
	if err != nil {
		a.Fatal(err)
	}
	if err := os.WriteFile(p.dir+"/bin/entrypoint", program, 0o755); err != nil { //nolint:gosec // a program
		a.Fatal(err)
	}
	return p
}

// run runs a step: its environment and options are those that the Task gives it. See orderContainers in Tekton's
// pkg/pod/entrypoint.go.
func (p *pod) run(step int, environment map[string]string, options ...string) (status int, output string) {
	p.Helper()
	return p.runCommand(step, []string{"/kaniko/bin/clone-build-push"}, environment, options...)
}

// runCommand runs a step that is another command.
func (p *pod) runCommand(step int, command []string, environment map[string]string, options ...string) (status int, output string) {
	p.Helper()
	termination := filepath.Join(p.dir, "termination-"+strconv.Itoa(step))
	write(p.T, termination, "")
	if err := os.Chmod(termination, 0o666); err != nil { //nolint:gosec // as the kubelet makes it
		p.Fatal(err)
	}
	args := append([]string{"run", "--rm", "--network", "host", "--entrypoint", "/tekton/bin/entrypoint"}, p.options(environment)...)
	mount := func(folder, at string) { args = append(args, "-v", filepath.Join(p.dir, folder)+":"+at) }
	mount("bin", "/tekton/bin:ro")
	mount("workspace", "/workspace")
	mount("home", "/tekton/home")
	mount("results", "/tekton/results")
	mount("steps", "/tekton/steps:ro")
	mount("artifacts", "/tekton/artifacts")
	mount("creds/"+strconv.Itoa(step), "/tekton/creds")
	mount(filepath.Base(termination), "/tekton/termination")
	for other := range p.steps {
		at := "/tekton/run/" + strconv.Itoa(other)
		if other != step {
			at += ":ro"
		}
		mount("run/"+strconv.Itoa(other), at)
	}
	args = append(append(args, options...), image)
	if step > 0 {
		args = append(args, "-wait_file", "/tekton/run/"+strconv.Itoa(step-1)+"/out")
	}
	args = append(args, "-post_file", "/tekton/run/"+strconv.Itoa(step)+"/out", "-termination_path", "/tekton/termination",
		"-step_metadata_dir", "/tekton/run/"+strconv.Itoa(step)+"/status", "-results", "IMAGE_URL,IMAGE_DIGEST,COMMIT,BUILT_IMAGE",
		"-entrypoint", command[0], "--")
	args = append(args, command[1:]...)
	status, stdout, stderr := run(p.T, args...)
	if _, err := os.Stat(filepath.Join(p.dir, "run", strconv.Itoa(step), "out")); status == 0 && err != nil {
		p.Errorf("the entrypoint does not let the next step start: %v", err)
	}
	return status, stdout + stderr
}

// checkResult wants the message that the entrypoint leaves for the kubelet to tell what was pushed.
func (p *pod) checkResult(step int, version string) {
	p.Helper()
	pushed, err := remote.Head(reference(p.T, p.registry.Host()+"/"+hello+":"+version), account)
	if err != nil {
		p.Fatal(err)
	}
	message, err := os.ReadFile(filepath.Join(p.dir, "termination-"+strconv.Itoa(step)))
	if err != nil || !strings.Contains(string(message), pushed.Digest.String()) {
		p.Errorf("the entrypoint tells %s (%v), and not of %s", message, err, pushed.Digest)
	}
}

// TestAHostileBuildFindsNothingBelowTektonsEntrypoint has the step be the child of Tekton's entrypoint, which the kubelet
// gives the step's whole environment, secrets included.
func TestAHostileBuildFindsNothingBelowTektonsEntrypoint(t *testing.T) {
	t.Parallel()
	both(t, newAttack(t), func(a *attacker, version string) (int, string) {
		environment := a.settings(version)
		maps.Copy(environment, a.clone())
		maps.Copy(environment, loot)
		p := newPod(a, 1)
		status, output := p.run(0, environment)
		if status == 0 {
			p.checkResult(0, version)
		}
		return status, output
	})
}

// TestAHostilePhaseFindsNothingBelowTektonsEntrypoint runs the Task as it ships: three steps, of which the build has
// secrets too, for base images and for what a RUN mounts, and what else a team gives it. The key of the seal, by which the
// push knows what the build has made, is one that the test learns.
func TestAHostilePhaseFindsNothingBelowTektonsEntrypoint(t *testing.T) {
	t.Parallel()
	a := newAttack(t)
	delete(a.loot, "GIT_PASSWORD") // only clone has it
	both(t, a, func(a *attacker, version string) (int, string) {
		p := newPod(a, 3)
		stranger := []string{
			"--user", "65532:65532", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
		}
		volumes := func(checkout, image string) []string {
			return []string{"-v", p.dir + "/checkout:/kaniko/checkout" + checkout, "-v", p.dir + "/image:/kaniko/image" + image}
		}
		phase := func(name string, secrets ...string) map[string]string {
			environment := a.settings(version)
			environment["PHASE"], environment["CHECKOUT_DIR"], environment["IMAGE_DIR"] = name, "/kaniko/checkout", "/kaniko/image"
			for _, secret := range secrets {
				environment[secret] = loot[secret]
			}
			return environment
		}
		cloning := phase("clone", "GIT_PASSWORD")
		maps.Copy(cloning, a.clone())
		delete(cloning, "REGISTRY_USERNAME")
		status, cloned := p.run(0, cloning, slices.Concat(stranger, volumes("", ""), []string{"-v", p.dir + "/tmp:/tmp"})...)
		if status != 0 {
			return status, cloned
		}
		key, err := os.ReadFile(filepath.Join(p.dir, "image/seal.key"))
		if err != nil {
			a.Fatal(err)
		}
		a.loot = maps.Clone(a.loot)
		a.loot["key of the seal"] = string(key)
		status, built := p.run(1, phase("build", slices.DeleteFunc(slices.Sorted(maps.Keys(loot)), func(name string) bool {
			return name == "GIT_PASSWORD"
		})...), volumes(":ro", "")...)
		if status != 0 {
			return status, built
		}
		status, pushed := p.run(2, phase("push", "REGISTRY_PASSWORD"), append(stranger, volumes(":ro", ":ro")...)...)
		if status == 0 {
			p.checkResult(2, version)
		}
		return status, built + pushed
	})
}
