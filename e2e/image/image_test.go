//go:build e2e

// Package image_test runs Dockline's image in a container engine of its own. It needs root, and the image that
// `make image` has left in .build/image.
package image_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/engine"
	"dockline/e2e/faultyregistry"
)

const (
	project  = "../.."
	packed   = project + "/.build/image"
	user     = "release-bot"
	password = "correct-horse-battery-staple"
	hello    = "deepsky/awl-deepsky-hello"
)

var (
	docker *engine.Engine
	image  string // the image's name in the engine
)

func TestMain(m *testing.M) {
	status, err := withEngine(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "the image cannot be tested:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func withEngine(run func() int) (status int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	if docker, err = engine.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	if image, err = docker.Load(ctx, packed+"/image.tar"); err != nil {
		return 0, fmt.Errorf("has make image been run? %w", err)
	}
	return run(), nil
}

// run runs the engine's client, and returns its exit status and what it wrote.
func run(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	return finish(t, docker.Command(t.Context(), args...))
}

// finish runs a command to its end.
func finish(t *testing.T, command *exec.Cmd) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	var exit *exec.ExitError
	if err := command.Run(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String(), errs.String()
}

// stranger runs a program of the image as little privileged as a cluster could: any user, nothing to write to, no
// capability and no way to get one.
func stranger(args ...string) []string {
	return append([]string{
		"run", "--rm", "--network", "host", "--read-only", "--user", "12345:23456", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges",
	}, args...)
}

func TestEveryStepRuns(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"clone-build-push", "promote", "retag", "verify"} {
		for flag, want := range map[string]string{"--version": step + " ", "--help": step + ": "} {
			for how, command := range map[string][]string{
				"root": {"run", "--rm", "--network", "host", image, step, flag}, "a stranger": stranger(image, step, flag),
			} {
				t.Run(step+" "+flag+" as "+how, func(t *testing.T) {
					t.Parallel()
					status, stdout, stderr := run(t, command...)
					if status != 0 || !strings.HasPrefix(stdout, want) || stderr != "" {
						first, _, _ := strings.Cut(stdout, "\n")
						t.Errorf("exit status %d, %q, %q", status, first, stderr)
					}
				})
			}
		}
	}
}

// TestThereIsNoDefaultStep: a job that names none must not be taken for one that succeeded.
func TestThereIsNoDefaultStep(t *testing.T) {
	t.Parallel()
	status, stdout, stderr := run(t, "run", "--rm", image)
	if status != 2 || stdout != "" || !strings.Contains(stderr, "name a step: clone-build-push, promote, retag or verify") {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
}

// TestPromotingAsAStranger copies an image between two registries for real.
func TestPromotingAsAStranger(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	source.Login(user, password)
	target.Login(user, password)
	pushed, err := random.Image(1<<16, 3)
	if err != nil {
		t.Fatal(err)
	}
	account := remote.WithAuth(&authn.Basic{Username: user, Password: password})
	if err := remote.Write(reference(t, source.Host()+"/"+hello+":1.0"), pushed, account); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr := run(t, stranger(
		"-e", "IMAGE="+hello+":1.0",
		"-e", "SOURCE_REGISTRY="+source.Host(), "-e", "SOURCE_REGISTRY_INSECURE=true",
		"-e", "SOURCE_REGISTRY_USERNAME="+user, "-e", "SOURCE_REGISTRY_PASSWORD="+password,
		"-e", "TARGET_REGISTRY="+target.Host(), "-e", "TARGET_REGISTRY_INSECURE=true",
		"-e", "TARGET_REGISTRY_USERNAME="+user, "-e", "TARGET_REGISTRY_PASSWORD="+password,
		image, "promote")...)
	if status != 0 || strings.Contains(stdout+stderr, password) {
		t.Fatalf("exit status %d\n%s%s", status, stdout, stderr)
	}
	copied, err := remote.Head(reference(t, target.Host()+"/"+hello+":1.0"), account)
	if err != nil || copied.Digest != digestOf(t, pushed) {
		t.Errorf("the target holds %+v, %v\n%s", copied, err, stderr)
	}
}

// TestBuildingIsRefusedWhereItCannotBe: whoever is not root is told so, and no file system is deleted.
func TestBuildingIsRefusedWhereItCannotBe(t *testing.T) {
	t.Parallel()
	context := t.TempDir()
	write(t, context+"/Dockerfile", "FROM scratch\nCOPY Dockerfile /\n")
	registry := faultyregistry.Start(t)
	status, stdout, stderr := run(t, stranger("-v", context+":/source:ro",
		"-e", "IMAGE="+hello+":1.0", "-e", "SOURCE_DIR=/source", "-e", "REGISTRY="+registry.Host(), "-e", "REGISTRY_INSECURE=true",
		image, "clone-build-push")...)
	if status != 5 || !strings.Contains(stderr, "building needs user 0, and this is user 12345") {
		t.Errorf("exit status %d\n%s%s", status, stdout, stderr)
	}
}

// TestTheImageIsSmall: 32 MB is the promise; what it is today is in docs/decisions/0003.
func TestTheImageIsSmall(t *testing.T) {
	t.Parallel()
	index, err := layout.ImageIndexFromPath(packed + "/oci")
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	laid, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	layers, err := laid.Layers()
	if err != nil {
		t.Fatal(err)
	}
	var sum int64
	for _, layer := range layers {
		size, err := layer.Size()
		if err != nil {
			t.Fatal(err)
		}
		sum += size
	}
	if sum > 20_000_000 {
		t.Errorf("%d bytes compressed: what has become larger, and is it worth it?", sum)
	}
	t.Logf("%d bytes compressed", sum)
}

func reference(t *testing.T, text string) name.Reference {
	t.Helper()
	parsed, err := name.ParseReference(text, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

func digestOf(t *testing.T, image v1.Image) v1.Hash {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // read by another user
		t.Fatal(err)
	}
}
