package clonebuildpush

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/attack"
	"dockline/e2e/baseimage"
	"dockline/e2e/faultyregistry"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

var plainExecutor = sync.OnceValues(func() ([]byte, error) {
	return baseimage.Program(context.Background(), "dockline/e2e/plain")
})

// arena is where attacks take place in sandboxes: a registry with the base images, and a job's container.
type arena struct {
	*testing.T
	given attack.Given
	bases map[string]string // references, by name
}

func newArena(t *testing.T) *arena {
	t.Helper()
	requireSandbox(t)
	compiled, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	registry := faultyregistry.Start(t)
	a := &arena{T: t, bases: map[string]string{}, given: attack.Given{
		Seed: "s3cr3t-" + strings.ToLower(rand8()), Registry: strings.Replace(registry.Host(), "127.0.0.1", "localhost", 1),
		Results: "/results", WorkTree: "/builds/deepsky/hello",
	}}
	registry.Login(attack.Account, a.given.Secret("registry"))
	images, err := attack.Bases(compiled["probe"], a.given)
	if err != nil {
		t.Fatal(err)
	}
	for base, image := range images {
		a.bases[base] = a.given.Registry + "/deepsky/base:1" + base
		if err := remote.Write(a.reference(a.bases[base]), image, a.account()); err != nil {
			t.Fatal(err)
		}
	}
	other, err := random.Image(100, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(a.reference(a.given.Registry+"/"+attack.Other+":1"), other, a.account()); err != nil {
		t.Fatal(err)
	}
	return a
}

// rand8 is what no file holds by chance.
func rand8() string { return hex.EncodeToString(fmt.Appendf(nil, "%d", os.Getpid())) }

func (a *arena) account() remote.Option {
	return remote.WithAuth(&authn.Basic{Username: attack.Account, Password: a.given.Secret("registry")})
}

func (a *arena) reference(text string) name.Reference {
	parsed, err := name.ParseReference(text, name.Insecure)
	if err != nil {
		a.Fatal(err)
	}
	return parsed
}

// play builds a scene in a sandbox of its own, by Dockline or by the plain executor, and tells how its attacks went.
func (a *arena) play(t *testing.T, scene attack.Scene, plain bool, alter func(*sandbox.Spec)) (map[string]attack.Verdict, int, string) {
	t.Helper()
	compiled, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	executor, err := plainExecutor()
	if err != nil {
		t.Fatal(err)
	}
	version := scene.Name + map[bool]string{true: "-plain", false: ""}[plain]
	folder := func(files map[string]string) string {
		dir := t.TempDir()
		for path, content := range files {
			writeFile(t, filepath.Join(dir, path), content)
		}
		return dir
	}
	results := folder(nil)
	spec := sandbox.Spec{
		Files:    map[string]string{kaniko.Marker: "", "/kaniko/npm": a.given.Secret("build")},
		Programs: map[string]string{},
		Binds: map[string]string{
			a.given.Results:           results,
			a.given.WorkTree:          folder(attack.WorkTree(scene.Dockerfile(a.bases[scene.Base], a.given), a.given)),
			a.given.WorkTree + ".tmp": folder(attack.Beside(a.given)),
		},
	}
	for path, content := range attack.Files(a.given) {
		spec.Files[path] = content
	}
	step := []string{"/kaniko/bin/clone-build-push"}
	path := "/kaniko/bin:/kaniko/busybox:/usr/local/bin:/usr/bin:/bin"
	if plain {
		step = attack.Executor("/kaniko/executor", a.given, version)
		path = "/usr/local/bin:/usr/bin:/bin:/kaniko/bin:/kaniko/busybox"
	} else {
		delete(spec.Files, "/kaniko/npm")
	}
	outside := t.TempDir()
	for inside, program := range map[string][]byte{
		"/kaniko/bin/clone-build-push": compiled["clone-build-push"], "/kaniko/executor": executor,
		"/kaniko/bin/probe": compiled["probe"], "/kaniko/bin/promote": compiled["probe"],
		"/kaniko/busybox/ls": compiled["probe"], "/kaniko/busybox/sh": compiled["probe"],
	} {
		at := filepath.Join(outside, strings.ReplaceAll(inside, "/", "_"))
		if err := os.WriteFile(at, program, 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
		spec.Programs[inside] = at
	}
	spec.Args = slices.Concat([]string{"/kaniko/bin/probe", "job", hex.EncodeToString([]byte(a.given.Secret("held")))}, step)
	for _, command := range scene.Commands("/kaniko/bin/probe", a.given) {
		spec.Args = append(append(spec.Args, "--"), command...)
	}
	for variable, value := range attack.Environment(a.given, version) {
		spec.Env = append(spec.Env, variable+"="+value)
	}
	spec.Env = append(spec.Env, "PATH="+path)
	if alter != nil {
		alter(&spec)
	}
	status, output := a.start(t, spec)
	return scene.Judge(output, results, a.given, a.forged(version)), status, output
}

func (a *arena) start(t *testing.T, spec sandbox.Spec) (status int, output string) {
	t.Helper()
	box, err := sandbox.New(t.TempDir(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), longestBuild)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("it has not ended after %v:\n%s", longestBuild, out)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// forged says whether the registry holds what the daemon has put into the place of the image's files.
func (a *arena) forged(version string) bool {
	held, err := remote.Get(a.reference(a.given.Registry+"/deepsky/hello:"+version), a.account())
	return err == nil && bytes.Equal(held.Manifest, []byte("{}"))
}

// TestAttacks has each attack of docs/attacks.md take place in sandboxes: none succeeds, and each does beside the plain
// executor.
func TestAttacks(t *testing.T) {
	t.Parallel()
	a := newArena(t)
	for _, scene := range attack.Scenes(attack.Sandbox) {
		t.Run(scene.Name, func(t *testing.T) {
			t.Parallel()
			check := func(t *testing.T, plain bool, want attack.Verdict) {
				t.Helper()
				verdicts, status, output := a.play(t, scene, plain, nil)
				if !plain && scene.Ends >= 0 && status != scene.Ends {
					t.Errorf("exit status %d, want %d", status, scene.Ends)
				}
				for _, name := range scene.Attacks {
					if verdicts[name] != want {
						t.Errorf("%s: %s, want %s", name, verdicts[name], want)
					}
				}
				if t.Failed() {
					t.Logf("exit status %d\n%s", status, output)
				}
			}
			// In turn: what the one leaves listening on loopback would be in the other's way.
			t.Run("Dockline", func(t *testing.T) { check(t, false, attack.Lost) })
			t.Run("control", func(t *testing.T) { check(t, true, attack.Won) })
		})
	}
}

// TestAttacksInAPrivilegedContainer has the same where Dockline refuses to build, and the plain executor does not.
func TestAttacksInAPrivilegedContainer(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("NO PRIVILEGED CONTAINER IS TESTED: an ordinary user has none")
	}
	a := newArena(t)
	privileged := func(spec *sandbox.Spec) { spec.Capable = true }
	for _, scene := range attack.Scenes(attack.Privileged) {
		t.Run(scene.Name, func(t *testing.T) {
			t.Parallel()
			verdicts, status, output := a.play(t, scene, false, privileged)
			if status != 5 || !strings.Contains(output, "refusing to build: the container is privileged") {
				t.Errorf("exit status %d, want 5\n%s", status, output)
			}
			for _, name := range scene.Attacks {
				if verdicts[name] != attack.Untried {
					t.Errorf("%s: %s, and nothing was to be built", name, verdicts[name])
				}
			}
			verdicts, status, output = a.play(t, scene, true, privileged)
			for _, name := range scene.Attacks {
				if verdicts[name] != attack.Won {
					t.Errorf("control: %s: %s", name, verdicts[name])
				}
			}
			if t.Failed() {
				t.Logf("exit status %d\n%s", status, output)
			}
		})
	}
}

// TestAttackTable keeps docs/attacks.md equal to the attacks that the tests have take place.
func TestAttackTable(t *testing.T) {
	t.Parallel()
	const path = "../../docs/attacks.md"
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	table := attack.Page()
	head, _, _ := strings.Cut(table, "\n")
	before, rest, found := strings.Cut(string(page), head)
	if !found {
		t.Fatalf("%s has no table %q", path, head)
	}
	there, after, _ := strings.Cut(head+rest, "\n\n")
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		if err := os.WriteFile(path, []byte(before+table+"\n"+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(there+"\n", table); diff != "" {
		t.Errorf("%s is stale: run this test with DOCKLINE_UPDATE=true (-there +should be)\n%s", path, diff)
	}
}
