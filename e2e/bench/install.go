package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"dockline/e2e/debian"
	kanikos "dockline/e2e/executor"
)

// peers are built from these versions, newer than which there was none when they were last looked up.
var peers = map[string]string{
	"crane":  "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
	"regctl": "github.com/regclient/regclient/cmd/regctl@v0.11.7",
	"oras":   "oras.land/oras/cmd/oras@v1.3.6",
}

// install returns the path of each tool that the rows need, built or installed where it is missing. Own holds our programs.
func install(ctx context.Context, into, own string, chosen []row) (map[string]string, error) {
	builds := func(one row) bool { return one.built != nil }
	programs := map[string]string{}
	needed := map[string]string{"docker-registry": "docker-registry"}
	if slices.ContainsFunc(chosen, builds) {
		needed["git"] = "git"
		programs["clone-build-push"], programs["executor"] = filepath.Join(own, "clone-build-push"), filepath.Join(into, "executor")
		if err := os.MkdirAll(into, 0o755); err != nil { //nolint:gosec // programs
			return nil, err
		}
		if err := kanikos.BuildInto(ctx, kanikos.Continued, programs["executor"]); err != nil {
			return nil, err
		}
	}
	copies := slices.ContainsFunc(chosen, func(one row) bool { return !builds(one) })
	if copies {
		needed["skopeo"], needed["xargs"] = "skopeo", "findutils"
	}
	if err := debian.Need(ctx, needed); err != nil || !copies {
		return programs, err
	}
	programs["promote"], programs["skopeo"] = filepath.Join(own, "promote"), "skopeo"
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
