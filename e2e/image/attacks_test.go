//go:build e2e

package image_test

import (
	"context"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/attack"
	"dockline/e2e/executor"
	"dockline/e2e/faultyregistry"
)

// plain is the executor of Kaniko's continuation, at the version that we embed.
var plain = sync.OnceValues(func() ([]byte, error) {
	return executor.Build(context.Background(), executor.Continued)
})

// arena is where the attacks of docs/attacks.md take place in containers of one kind.
type arena struct {
	*attacker
	given    attack.Given
	bases    map[string]string // references, by name
	programs string            // folder of the probe and the executor
}

func newArena(t *testing.T) *arena {
	t.Helper()
	registry := faultyregistry.Start(t)
	a := &arena{
		attacker: &attacker{T: t, registry: registry, dir: t.TempDir()}, bases: map[string]string{}, programs: t.TempDir(),
		given: attack.Given{
			Seed: "s3cr3t-" + hex.EncodeToString([]byte(registry.Host())), Results: "/results", WorkTree: "/builds/deepsky/hello",
			Registry: strings.Replace(registry.Host(), "127.0.0.1", "localhost", 1),
		},
	}
	write(t, filepath.Join(a.dir, "git-ca.pem"), "")
	registry.Login(attack.Account, a.given.Secret("registry"))
	for name, compiled := range map[string]func() ([]byte, error){"probe": probe, "executor": plain} {
		program, err := compiled()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(a.programs, name), program, 0o755); err != nil { //nolint:gosec // a program
			t.Fatal(err)
		}
		if name != "probe" {
			continue
		}
		images, err := attack.Bases(program, a.given)
		if err != nil {
			t.Fatal(err)
		}
		for base, image := range images {
			a.bases[base] = a.given.Registry + "/deepsky/base:1" + base
			if err := remote.Write(reference(t, a.bases[base]), image, a.account()); err != nil {
				t.Fatal(err)
			}
		}
	}
	other, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference(t, a.given.Registry+"/"+attack.Other+":1"), other, a.account()); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *arena) account() remote.Option {
	return remote.WithAuth(&authn.Basic{Username: attack.Account, Password: a.given.Secret("registry")})
}

// job is what a container of a scene is given.
type job struct {
	version     string
	work        string // the build context, outside
	environment map[string]string
	mounts      []string // options
	step        []string
	next        [][]string
}

// commands are the step and what comes after it, as the words of one command that stands for a script.
func (j job) commands() []string {
	words := j.step
	for _, command := range j.next {
		words = append(append(words, "--"), command...)
	}
	return words
}

// play builds a scene in a container of its own, by Dockline or by the plain executor, and tells how its attacks went.
func (a *arena) play(t *testing.T, scene attack.Scene, plain bool, start func(*testing.T, job) (int, string)) (map[string]attack.Verdict, int, string) {
	t.Helper()
	version := scene.Name + map[bool]string{true: "-plain", false: ""}[plain]
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for path, content := range files {
			path = filepath.Join(dir, path)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a test's
				t.Fatal(err)
			}
			write(t, path, content)
		}
		return dir
	}
	results := folder(nil)
	made := job{
		version: version, environment: attack.Environment(a.given, version), next: scene.Commands("/kaniko/bin/probe", a.given),
		work: folder(attack.WorkTree(scene.Dockerfile(a.bases[scene.Base], a.given), a.given)),
		step: []string{"/kaniko/bin/probe", "job", hex.EncodeToString([]byte(a.given.Secret("held")))},
	}
	mount := func(outside, inside string) { made.mounts = append(made.mounts, "-v", outside+":"+inside) }
	mount(results, a.given.Results)
	mount(folder(attack.Beside(a.given)), a.given.WorkTree+".tmp")
	mount(filepath.Join(a.programs, "probe"), "/kaniko/bin/probe:ro")
	mount(filepath.Join(a.programs, "executor"), "/kaniko/executor:ro")
	for inside, files := range a.folders() {
		mount(folder(files), inside)
	}
	if plain {
		mount(filepath.Join(folder(map[string]string{"npm": a.given.Secret("build")}), "npm"), "/kaniko/npm:ro")
		made.step = append(made.step, attack.Executor("/kaniko/executor", a.given, version)...)
		made.environment["PATH"] = "/usr/local/bin:/usr/bin:/bin:/kaniko/bin:/kaniko/busybox"
	} else {
		made.step = append(made.step, "/kaniko/bin/clone-build-push")
	}
	status, output := start(t, made)
	held, err := remote.Get(reference(t, a.given.Registry+"/deepsky/hello:"+version), a.account())
	return scene.Judge(output, results, a.given, err == nil && string(held.Manifest) == "{}"), status, output
}

// folders are the files with credentials, by the folders that are mounted: what is in them can be removed.
func (a *arena) folders() map[string]map[string]string {
	found := map[string]map[string]string{}
	for path, content := range attack.Files(a.given) {
		for _, folder := range []string{"/kaniko/.docker", "/root", "/tekton/creds", "/var/run/secrets"} {
			if inside, ok := strings.CutPrefix(path, folder+"/"); ok {
				if found[folder] == nil {
					found[folder] = map[string]string{}
				}
				found[folder][inside] = content
			}
		}
	}
	return found
}

// fight plays every scene of a kind, against Dockline, which must win, and against the plain executor, which must lose.
func fight(t *testing.T, kind attack.Kind, start func(*arena, *testing.T, job) (int, string)) {
	t.Helper()
	t.Parallel()
	a := newArena(t)
	for _, scene := range attack.Scenes(kind) {
		t.Run(scene.Name, func(t *testing.T) {
			t.Parallel()
			for _, row := range []struct {
				name  string
				plain bool
			}{{"Dockline", false}, {"control", true}} {
				// In turn: what the one leaves listening on loopback would be in the other's way.
				t.Run(row.name, func(t *testing.T) {
					verdicts, status, output := a.play(t, scene, row.plain, func(t *testing.T, made job) (int, string) {
						t.Helper()
						return start(a, t, made)
					})
					want := map[bool]attack.Verdict{false: attack.Lost, true: attack.Won}[row.plain]
					ends := scene.Ends
					if kind == attack.Privileged && !row.plain {
						want, ends = attack.Untried, 5
						if !strings.Contains(output, "refusing to build: the container is privileged") {
							t.Error("it is not refused")
						}
					}
					if !row.plain && ends >= 0 && status != ends {
						t.Errorf("exit status %d, want %d", status, ends)
					}
					for _, name := range scene.Attacks {
						if verdicts[name] != want {
							t.Errorf("%s: %s, want %s", name, verdicts[name], want)
						}
					}
					if t.Failed() {
						t.Logf("exit status %d\n%s", status, output)
					}
				})
			}
		})
	}
}

func TestAttacksInDockersDefault(t *testing.T) {
	fight(t, attack.Docker, func(_ *arena, t *testing.T, made job) (int, string) { return inDocker(t, made) })
}

func TestAttacksInAPrivilegedContainer(t *testing.T) {
	options := privileged(t)
	fight(t, attack.Privileged, func(_ *arena, t *testing.T, made job) (int, string) { return inDocker(t, made, options...) })
}

// privileged are the options for a privileged container. A machine that is a container itself may not have all that an engine
// would give it: there, these are what makes the difference.
func privileged(t *testing.T) []string {
	t.Helper()
	status, _, stderr := run(t, "run", "--rm", "--network", "host", "--privileged", image, "true")
	if status == 0 {
		return []string{"--privileged"}
	}
	t.Logf("no container with every capability here: %s", stderr)
	return []string{
		"--cap-add", "SYS_ADMIN", "--cap-add", "SYS_PTRACE", "--security-opt", "seccomp=unconfined",
		"--security-opt", "systempaths=unconfined",
	}
}

func inDocker(t *testing.T, made job, options ...string) (status int, output string) {
	t.Helper()
	args := slices.Concat([]string{"run", "--rm", "--network", "host", "-v", made.work + ":/builds/deepsky/hello"}, options, made.mounts)
	for variable, value := range made.environment {
		args = append(args, "-e", variable+"="+value)
	}
	status, stdout, stderr := run(t, append(append(args, image), made.commands()...)...)
	return status, stdout + stderr
}

func TestAttacksBelowGitLabsShell(t *testing.T) {
	fight(t, attack.GitLab, func(a *arena, t *testing.T, made job) (int, string) {
		var options []string
		for variable, value := range made.environment {
			options = append(options, "-e", variable+"="+value)
		}
		id := newJob(t, made.work, a.registry, made.version, append(options, made.mounts...)...)
		lines := strings.Join(made.step, " ")
		for _, command := range made.next {
			lines += "\n" + strings.Join(command, " ")
		}
		status, stdout, stderr := script(t, id, gitlabScript(made.environment, lines))
		return status, stdout + stderr
	})
}

func TestAttacksBelowTektonsEntrypoint(t *testing.T) {
	fight(t, attack.Tekton, func(a *arena, t *testing.T, made job) (int, string) {
		copied := *a.attacker
		copied.T = t
		p := newPod(&copied, 1)
		mounts := []string{"-v", made.work + ":/builds/deepsky/hello"}
		for _, mount := range made.mounts {
			// Tekton mounts its credentials there itself.
			if folder, isCreds := strings.CutSuffix(mount, ":/tekton/creds"); isCreds {
				if err := os.CopyFS(filepath.Join(p.dir, "creds/0"), os.DirFS(folder)); err != nil {
					t.Fatal(err)
				}
			} else if mount != "-v" {
				mounts = append(mounts, "-v", mount)
			}
		}
		return p.runCommand(0, made.commands(), made.environment, mounts...)
	})
}
