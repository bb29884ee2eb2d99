package clonebuildpush

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/gitserver"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

// TestRealBuildOfTheSampleService clones, builds and pushes both versions of the sample service with the real program
// in a sandbox: the base image comes from the registry with the password, and goes back there.
func TestRealBuildOfTheSampleService(t *testing.T) {
	t.Parallel()
	requireSandbox(t)
	s := newStage(t)
	files := gitserver.Files{}
	for _, version := range []string{"1.0", "1.1"} {
		for _, file := range []string{"Dockerfile", "index.html"} {
			dir := "hello_v" + version
			text, err := os.ReadFile(filepath.Join("..", "..", "e2e", "hello", dir, file))
			if err != nil {
				t.Fatal(err)
			}
			files[dir+"/"+file] = gitserver.File{Content: string(text)}
		}
	}
	hash, err := gitserver.Commit(s.repo, "develop", "The sample service", files)
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Web(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	account := remote.WithAuth(&authn.Basic{Username: "pusher", Password: registryPassword})
	reference, err := name.ParseReference(s.registry+"/deepsky/web:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, base, account); err != nil {
		t.Fatal(err)
	}
	program, err := baseimage.Program(t.Context(), "dockline/cmd/clone-build-push")
	if err != nil {
		t.Fatal(err)
	}

	for version, want := range map[string]string{
		"1.0": "Hello World! I'm using the version 1.0", "1.1": "Hello World! I'm using version 1.1.",
	} {
		results := t.TempDir()
		output := s.runInSandbox(program, results, map[string]string{
			"IMAGE": "deepsky/hello:" + version, "CONTEXT_DIR": "hello_v" + version,
			"BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
		})
		pushed, err := name.ParseReference(s.registry+"/deepsky/hello:"+version, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		image, err := remote.Image(pushed, account)
		if err != nil {
			t.Fatalf("%v\n%s", err, output)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Labels[labelRevision]; got != hash {
			t.Errorf("%s: revision label is %q, want %q", version, got, hash)
		}
		content := extract(t, mutate.Extract(image))
		if !strings.Contains(content["srv/index.html"], want) || content["srv/version.txt"] != version+"\n" {
			t.Errorf("%s: page %q, stamp %q", version, content["srv/index.html"], content["srv/version.txt"])
		}
		for path, text := range content {
			if strings.Contains(text, registryPassword) || strings.Contains(text, gitPassword) || strings.Contains(path, ".git") {
				t.Errorf("%s: %s does not belong into the image", version, path)
			}
		}
		digest, _ := image.Digest()
		written, err := os.ReadFile(filepath.Join(results, "IMAGE_DIGEST"))
		if err != nil || string(written) != digest.String() {
			t.Errorf("%s: result is %q (%v), want %q", version, written, err, digest)
		}
	}
}

// runInSandbox runs the program as a container engine would run our image, and returns what it wrote.
func (s *stage) runInSandbox(program []byte, results string, changes map[string]string) string {
	s.t.Helper()
	path := filepath.Join(s.t.TempDir(), "clone-build-push")
	if err := os.WriteFile(path, program, 0o700); err != nil { //nolint:gosec // it is to be run
		s.t.Fatal(err)
	}
	ca, err := os.ReadFile(s.env["GIT_CA_FILE"])
	if err != nil {
		s.t.Fatal(err)
	}
	environment := map[string]string{}
	for _, from := range []map[string]string{s.env, {
		"KANIKO_DIR": kaniko.Dir, "RESULTS_DIR": "/results", "GIT_CA_FILE": "/kaniko/git-ca.pem", "HOME": "/root",
	}, changes} {
		for name, value := range from {
			environment[name] = value
		}
	}
	spec := sandbox.Spec{
		Args:     []string{"/kaniko/bin/clone-build-push"},
		Programs: map[string]string{"/kaniko/bin/clone-build-push": path},
		Files:    map[string]string{kaniko.Marker: "", "/kaniko/git-ca.pem": string(ca)},
		Binds:    map[string]string{"/results": results},
	}
	for name, value := range environment {
		spec.Env = append(spec.Env, name+"="+value)
	}
	box, err := sandbox.New(s.t.TempDir(), spec)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*time.Minute)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	output, err := command.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if err != nil {
		s.t.Fatalf("%v\n%s", err, output)
	}
	if strings.Contains(string(output), registryPassword) || strings.Contains(string(output), gitPassword) {
		s.t.Errorf("the output shows a secret:\n%s", output)
	}
	return string(output)
}

func requireSandbox(t *testing.T) {
	t.Helper()
	err := sandbox.Available()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skipf("NO REAL BUILD IS TESTED: %v", err)
}

// extract reads a flattened image: path to content.
func extract(t *testing.T, from io.ReadCloser) map[string]string {
	t.Helper()
	defer from.Close()
	out := map[string]string{}
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out[header.Name] = string(text)
	}
}
