// Command bench measures promote against crane, regctl, oras and skopeo: how long the same copies take between two real
// registries, over a line of a fixed delay or over none, and how much memory. And it measures clone-build-push against a
// clone by git and Kaniko's own executor, in the tests' sandbox, with a Git server and a registry on loopback.
//
// The tools run in turn, one after the other, in rounds that each begin with another tool, every run into a target with
// storage of its own, and every build in a root file system of its own. A ratio is of two runs of one round. After each run the target is looked at: what is not complete
// is no run. ROUNDS is the number of rounds (default 10), BENCH_ROWS the rows to measure (default all).
//
// As root on Debian it installs docker-registry and skopeo; the others it builds, at pinned versions, in .build/bench.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"dockline/e2e/sandbox"
)

func main() {
	sandbox.Init()
	if len(os.Args) > 1 && os.Args[1] == launchMode {
		os.Exit(launched(os.Args[2:]))
	}
	if len(os.Args) == 3 && os.Args[1] == containMode {
		os.Exit(contain(os.Args[2]))
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	missed, err := run(ctx, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	if missed > 0 {
		fmt.Printf("%d goals missed\n", missed)
		os.Exit(8)
	}
	fmt.Println("all goals met")
}

func run(ctx context.Context, out io.Writer) (missed int, err error) {
	rounds, err := strconv.Atoi(either(os.Getenv("ROUNDS"), "10"))
	if err != nil || rounds < 1 {
		return 0, errors.New("ROUNDS is not a number of rounds")
	}
	chosen, err := choose(strings.FieldsFunc(os.Getenv("BENCH_ROWS"), func(r rune) bool { return r == ',' || r == ' ' }))
	if err != nil {
		return 0, err
	}
	here, err := os.Getwd()
	if err != nil {
		return 0, err
	}
	kept := filepath.Join(here, ".build", "bench")
	programs, err := install(ctx, filepath.Join(kept, "bin"), filepath.Join(here, "bin"), chosen)
	if err != nil {
		return 0, err
	}
	work, err := os.MkdirTemp(storage(), "dockline-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work)
	all := map[string]map[string][]sample{}
	for _, one := range chosen {
		fmt.Fprintf(out, "\n## %s: %s\n", one.name, one.title)
		measuring := measure
		if one.built != nil {
			measuring = measureBuild
		}
		samples, err := measuring(ctx, one, rounds, programs, filepath.Join(work, one.name))
		if err != nil {
			return missed, fmt.Errorf("row %s: %w", one.name, err)
		}
		missed += one.print(out, samples)
		all[one.name] = samples
	}
	content, err := json.MarshalIndent(all, "", " ")
	if err != nil {
		return missed, err
	}
	return missed, os.WriteFile(filepath.Join(kept, "samples.json"), content, 0o644) //nolint:gosec // figures
}

// storage returns the folder for the registries' files: in memory where there is room, so that no disk is measured.
func storage() string {
	const inMemory, enough = "/dev/shm", 8 << 30
	var there syscall.Statfs_t
	if err := syscall.Statfs(inMemory, &there); err == nil && there.Bavail*uint64(there.Bsize) > enough { //nolint:gosec // never negative
		return inMemory
	}
	return os.TempDir()
}

func either(value, otherwise string) string {
	if value == "" {
		return otherwise
	}
	return value
}
