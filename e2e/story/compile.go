package story

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Compile compiles the step programs and the servers of the story, static, into a folder.
func Compile(ctx context.Context, dir string) error {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "dockline").Output()
	if err != nil {
		return fmt.Errorf("finding the module: %w", err)
	}
	root := strings.TrimSpace(string(module))
	if err := compile(ctx, root, dir, "./cmd/...", "./e2e/gitserver/cmd/...", "./e2e/imageapi/cmd/..."); err != nil {
		return err
	}
	// A module of its own, so that what a registry needs is not a dependency of Dockline.
	return compile(ctx, filepath.Join(root, "e2e", "registry"), dir, ".")
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
