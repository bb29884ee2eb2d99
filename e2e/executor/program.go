// Package executor compiles two Kaniko executors, each by a module of its own with the versions of everything that it was
// released with: the archived original, and the continuation that Dockline embeds.
package executor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Archived is the original, of the module that was archived in June 2025.
const Archived = "archived"

// Continued is the executor of the continuation.
const Continued = "continued"

// packages are the executors' main packages, by the folders of their modules.
var packages = map[string]string{
	Archived:  "github.com/GoogleContainerTools/kaniko/cmd/executor",
	Continued: "github.com/osscontainertools/kaniko/cmd/executor",
}

// Build compiles one of them, static, and returns the program. From empty caches that takes some minutes.
func Build(ctx context.Context, which string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "executor-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "executor")
	if err := BuildInto(ctx, which, out); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

// BuildInto compiles one of them into a file.
func BuildInto(ctx context.Context, which, path string) error {
	here, err := exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "dockline/e2e/executor").Output()
	if err != nil {
		return fmt.Errorf("looking for the module of the executor %q: %w", which, err)
	}
	folder := filepath.Join(strings.TrimSpace(string(here)), which)
	build := exec.CommandContext(ctx, "go", "build", "-C", folder, "-trimpath", "-ldflags=-s -w", "-o", path, packages[which]) //nolint:gosec // from the table
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the executor %q: %w: %s", which, err, text)
	}
	return nil
}
