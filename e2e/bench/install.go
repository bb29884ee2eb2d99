package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"dockline/e2e/debian"
)

// peers are built from these versions, newer than which there was none when they were last looked up.
var peers = map[string]string{
	"crane":  "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
	"regctl": "github.com/regclient/regclient/cmd/regctl@v0.11.7",
	"oras":   "oras.land/oras/cmd/oras@v1.3.6",
}

// install returns the path of each tool, built or installed where it is missing.
func install(ctx context.Context, into, promote string) (map[string]string, error) {
	if err := debian.Need(ctx, map[string]string{"docker-registry": "docker-registry", "skopeo": "skopeo", "xargs": "findutils"}); err != nil {
		return nil, err
	}
	programs := map[string]string{"promote": promote, "skopeo": "skopeo"}
	for name, module := range peers {
		programs[name] = filepath.Join(into, name)
		stamp := programs[name] + ".version"
		if built, err := os.ReadFile(stamp); err == nil && string(built) == module {
			continue
		}
		fmt.Fprintln(os.Stderr, "building", module)
		build := exec.CommandContext(ctx, "go", "install", "-trimpath", "-ldflags", "-s -w", module) //nolint:gosec // from the table
		build.Dir = os.TempDir()                                                                     // outside of our module
		build.Env = append(os.Environ(), "GOBIN="+into, "CGO_ENABLED=0", "GOFLAGS=-mod=mod")
		if output, err := build.CombinedOutput(); err != nil {
			return nil, fmt.Errorf("building %s: %w\n%s", module, err, output)
		}
		if err := os.WriteFile(stamp, []byte(module), 0o644); err != nil { //nolint:gosec // a note
			return nil, err
		}
	}
	return programs, nil
}
