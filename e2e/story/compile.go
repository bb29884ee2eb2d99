package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Compile compiles the step programs and the servers of the story, static, into a folder.
func Compile(ctx context.Context, dir string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	// A module of its own, so that what a registry needs is not a dependency of Dockline.
	return errors.Join(compileOwn(ctx, root, dir), compile(ctx, filepath.Join(root, "e2e", "registry"), dir, "."))
}

// CompileQuickly is Compile for tests of the story itself: with another registry than the demo's, which takes as long to
// compile as all the rest.
func CompileQuickly(ctx context.Context, dir string) error {
	root, err := moduleRoot(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(compileOwn(ctx, root, dir), compile(ctx, root, dir, "./e2e/story/memoryregistry")); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "memoryregistry"), filepath.Join(dir, "registry"))
}

// compileOwn compiles what is of this module: all but the registry.
func compileOwn(ctx context.Context, root, dir string) error {
	return compile(ctx, root, dir, "./cmd/...", "./e2e/gitserver/cmd/...", "./e2e/imageapi/cmd/...")
}

func moduleRoot(ctx context.Context) (string, error) {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "dockline").Output()
	if err != nil {
		return "", fmt.Errorf("finding the module: %w", err)
	}
	return strings.TrimSpace(string(module)), nil
}

func compile(ctx context.Context, module, dir string, packages ...string) error {
	args := append([]string{"build", "-trimpath", "-ldflags=-s -w", "-o", dir + string(filepath.Separator)}, packages...)
	command := exec.CommandContext(ctx, "go", args...)
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling %s: %w: %s", strings.Join(packages, " "), err, text)
	}
	return nil
}
