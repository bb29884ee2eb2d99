// Package builds compares what clone-build-push makes of Dockerfiles with what BuildKit makes of them. BuildKit's
// programs are compiled from a module of their own, buildkit, which pins its version, and run without an engine.
package builds

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"dockline/e2e/debian"
)

// Version is that of BuildKit in buildkit/go.mod.
const Version = "v0.26.0"

// module is BuildKit's module as it is named in buildkit/go.mod.
const module = "github.com/moby/buildkit"

// Compile compiles buildkitd, buildctl and clone-build-push, static, into a folder. It is called by a test of this
// package.
func Compile(ctx context.Context, dir string) error {
	if err := build(ctx, "buildkit", dir, "tool"); err != nil {
		return err
	}
	return build(ctx, "../..", dir, "./cmd/clone-build-push")
}

func build(ctx context.Context, in, dir string, packages ...string) error {
	command := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-o", dir + string(filepath.Separator)}, packages...)...) //nolint:gosec // ours
	command.Dir = in
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %v: %w: %s", packages, err, text)
	}
	return nil
}

// Reference is what the Dockerfile reference of that version has.
type Reference struct {
	// Features are the parser directives ("# escape"), the instructions ("ADD") with their flags ("ADD --chown"), and
	// the mounts of RUN with their options ("RUN --mount=type=bind,from").
	Features []string
	// Sections are the anchors of its headings.
	Sections []string
}

// ReadReference asks BuildKit's own parser.
func ReadReference(ctx context.Context) (Reference, error) {
	dir, err := output(ctx, "go", "list", "-m", "-f", "{{.Dir}} {{.Version}}", module)
	if err != nil {
		return Reference{}, err
	}
	dir, version, _ := strings.Cut(strings.TrimSpace(dir), " ")
	if version != Version {
		return Reference{}, fmt.Errorf("buildkit/go.mod has %s of BuildKit, not %s", version, Version)
	}
	text, err := output(ctx, "go", "run", "./reference", dir)
	if err != nil {
		return Reference{}, err
	}
	var reference Reference
	return reference, json.Unmarshal([]byte(text), &reference)
}

func output(ctx context.Context, program string, args ...string) (string, error) {
	command := exec.CommandContext(ctx, program, args...)
	command.Dir = "buildkit"
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	var said strings.Builder
	command.Stderr = &said
	text, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("%s %v: %w: %s", program, args, err, said.String())
	}
	return string(text), nil
}

// BuildKit is a running daemon.
type BuildKit struct {
	programs string
	dir      string
	process  *exec.Cmd
	ended    chan struct{}
}

// startLimit bounds how long the daemon may take until it answers.
const startLimit = time.Minute

// Start starts the daemon with its files in a folder. It speaks plain http to the given registry.
func Start(ctx context.Context, programs, dir, registry string) (*BuildKit, error) {
	if err := debian.Need(ctx, map[string]string{"runc": "runc"}); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "buildkitd.toml")
	text := fmt.Sprintf(`root = %q
insecure-entitlements = ["network.host", "security.insecure"]
[grpc]
address = [%q]
[worker.oci]
binary = "runc"
networkMode = "host"
gc = false
[worker.containerd]
enabled = false
[registry.%q]
http = true
`, filepath.Join(dir, "root"), "unix://"+filepath.Join(dir, "socket"), registry)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	b := &BuildKit{programs: programs, dir: dir, ended: make(chan struct{})}
	b.process = exec.Command(filepath.Join(programs, "buildkitd"), "--config", config) //nolint:gosec // compiled above
	b.process.Stdout, b.process.Stderr = log, log
	b.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	if err := b.process.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(b.ended)
		_ = b.process.Wait()
	}()
	limit := time.After(startLimit)
	for {
		if err := b.control(ctx, "debug", "workers").Run(); err == nil {
			return b, nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
			continue
		case <-b.ended:
		case <-limit:
		case <-ctx.Done():
		}
		b.Stop()
		return nil, fmt.Errorf("buildkitd does not answer: %s", b.Log())
	}
}

// Build has the daemon build a Dockerfile and push the image. The arguments are buildctl's, after the frontend.
func (b *BuildKit) Build(ctx context.Context, image string, args ...string) error {
	command := b.control(ctx, append([]string{
		"build", "--progress=plain", "--frontend=dockerfile.v0",
		"--output=type=image,name=" + image + ",push=true,registry.insecure=true,oci-mediatypes=true",
	}, args...)...)
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("building by BuildKit: %w\n%s", err, text)
	}
	return nil
}

func (b *BuildKit) control(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(b.programs, "buildctl"), //nolint:gosec // compiled above
		append([]string{"--addr=unix://" + filepath.Join(b.dir, "socket")}, args...)...)
	command.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + b.dir}
	return command
}

// Log returns the end of what the daemon said.
func (b *BuildKit) Log() string {
	text, _ := os.ReadFile(filepath.Join(b.dir, "log"))
	return string(text[max(0, len(text)-4000):])
}

// Stop ends the daemon.
func (b *BuildKit) Stop() {
	_ = b.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(10 * time.Second):
		_ = b.process.Process.Kill()
		<-b.ended
	}
}
