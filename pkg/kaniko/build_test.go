package kaniko_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/faultyregistry"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

const (
	password    = "the-registry-passw0rd"
	buildSecret = "build-time-secret"
	fileSecret  = "the-secret-of-a-file"
)

var tools string // folder of the static programs that the builds need

func TestMain(m *testing.M) {
	sandbox.Init()
	dir, err := os.MkdirTemp("", "dockline-tools-*")
	if err != nil {
		panic(err)
	}
	tools = dir
	for _, arguments := range [][]string{
		{"-o", dir + "/", "dockline/e2e/probe", "dockline/e2e/builder", "dockline/e2e/plain"},
		{"-o", dir + "/control", "-ldflags=-X dockline/pkg/kaniko.control=yes", "dockline/e2e/builder"},
	} {
		build := exec.Command("go", append([]string{"build"}, arguments...)...)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			panic(string(out))
		}
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// base is a registry with a password that holds an image with the probe in it, twice: the second time as its /bin/sh.
func base(t *testing.T) (reference string) {
	t.Helper()
	registry := faultyregistry.Start(t)
	program, err := os.ReadFile(filepath.Join(tools, "probe"))
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, path := range []string{"bin/probe"} {
		if err := w.WriteHeader(&tar.Header{Name: path, Mode: 0o755, Size: int64(len(program))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(program); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromReader(&archive) //nolint:staticcheck // small
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config.OS, config.Architecture = "linux", "amd64"
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(registry.Host() + "/deepsky/base:1")
	if err != nil {
		t.Fatal(err)
	}
	registry.Login("builder", password)
	if err := remote.Write(tag, image, remote.WithAuth(&authn.Basic{Username: "builder", Password: password})); err != nil {
		t.Fatal(err)
	}
	return tag.String()
}

// inSandbox builds a Dockerfile for real, and returns what the builder printed and its exit status.
func inSandbox(t *testing.T, dockerfile, image string, change func(*sandbox.Spec)) (output string, status int) {
	t.Helper()
	if err := sandbox.Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	spec := sandbox.Spec{
		Args:     []string{"/kaniko/builder"},
		Env:      []string{"KANIKO_DIR=" + kaniko.Dir, "PASSWORD=" + password, "IMAGES=" + image, "BUILD_SECRET=" + buildSecret},
		Programs: map[string]string{"/kaniko/builder": filepath.Join(tools, "builder"), "/kaniko/probe": filepath.Join(tools, "probe")},
		Files: map[string]string{
			kaniko.Marker: "", "/kaniko/context/Dockerfile": dockerfile, "/kaniko/context/page": "hello",
		},
	}
	if change != nil {
		change(&spec)
	}
	box, err := sandbox.New(t.TempDir(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, _ := command.CombinedOutput()
	return string(out), command.ProcessState.ExitCode()
}

func TestBuilds(t *testing.T) {
	t.Parallel()
	image := base(t)
	for name, row := range map[string]struct {
		dockerfile string
		status     int
		want, not  []string
	}{
		"stages, a heredoc, a cache and a secret": {
			"FROM " + image + " AS first\nCOPY page /made\nCOPY <<EOF /written\nby a heredoc\nEOF\n" +
				"FROM " + image + "\nCOPY --from=first /made /written /srv/\n" +
				"RUN --mount=type=cache,target=/cache [\"/bin/probe\", \"run\", \"--\"]\n" +
				"RUN --mount=type=secret,id=token,target=/s [\"/bin/probe\", \"search\", \"" +
				hex.EncodeToString([]byte(buildSecret)) + "\"]\n",
			0,
			[]string{`FILE srv/made "hello"`, `FILE srv/written "by a heredoc\n"`, "LOG  FOUND /s\n", "BUILT sha256:"},
			[]string{"FILE s ", buildSecret},
		},
		"the third instruction fails": {
			"FROM " + image + "\nCOPY page /page\nRUN [\"/bin/probe\", \"no\", \"such\", \"thing\"]\n", 9,
			[]string{"ERROR Dockerfile:3: RUN ", "exit status 2"}, []string{"BUILT"},
		},
		"an image that is not named": {
			"FROM " + strings.Replace(image, "base:1", "other:1", 1) + "\n", 5,
			[]string{"deepsky/other\": it is not among the images of the Dockerfile"}, []string{"BUILT", password},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, row.dockerfile, image, nil)
			if status != row.status {
				t.Errorf("exit status %d, want %d", status, row.status)
			}
			for _, part := range row.want {
				if !strings.Contains(output, part) {
					t.Errorf("%q is missing", part)
				}
			}
			for _, part := range row.not {
				if strings.Contains(output, part) {
					t.Errorf("%q is there", part)
				}
			}
			if t.Failed() {
				t.Log(output)
			}
		})
	}
}

func TestReadyRefusesAnOrdinaryMachine(t *testing.T) {
	t.Parallel()
	if err := kaniko.Ready(true); err == nil || !strings.Contains(err.Error(), "this is not Dockline's image") {
		t.Errorf("got %v", err)
	}
}

// TestACrashBesideTheBuildEndsIt: the goroutine that passes the build's lines on crashes while a RUN goes on for long.
func TestACrashBesideTheBuildEndsIt(t *testing.T) {
	t.Parallel()
	image := base(t)
	output, status := inSandbox(t, "FROM "+image+"\nRUN [\"/bin/probe\", \"wait\"]\n", image,
		func(spec *sandbox.Spec) { spec.Env = append(spec.Env, "CRASH=boom") })
	if status != 1 || !strings.Contains(output, "ERROR building: crashed: boom\n") {
		t.Errorf("exit status %d:\n%s", status, output)
	}
}
