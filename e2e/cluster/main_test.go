//go:build e2e

package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"dockline/e2e/cluster"
	"dockline/e2e/story"
)

// shared are the one cluster that can be on a machine, and the servers beside it.
var shared struct {
	root     string // the project's
	programs string // the step programs
	cluster  cluster.Cluster
	world    *story.World
}

func TestMain(m *testing.M) {
	status, err := runTests(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// runTests brings all of it up, runs the tests, and takes it down again without a trace.
func runTests(m *testing.M) (status int, err error) {
	ctx := context.Background()
	if shared.root, err = filepath.Abs("../.."); err != nil {
		return 1, err
	}
	dir, err := os.MkdirTemp("", "cluster-test-")
	if err != nil {
		return 1, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	shared.programs = filepath.Join(dir, "bin")
	world := filepath.Join(dir, "world")
	// The environments' pods run as another user.
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(shared.programs, 0o755), os.Mkdir(world, 0o755)); err != nil { //nolint:gosec // as said
		return 1, err
	}
	if err := story.Compile(ctx, shared.programs); err != nil {
		return 1, err
	}

	shared.cluster = cluster.At(shared.root)
	if err := shared.cluster.Down(ctx); err != nil {
		return 1, err
	}
	before := traces(shared.cluster)
	say := func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	if err := shared.cluster.Up(ctx, say); err != nil {
		return 1, err
	}
	defer func() {
		err = errors.Join(err, shared.cluster.Down(ctx))
		if after := traces(shared.cluster); after != before {
			err = errors.Join(err, fmt.Errorf("the cluster has left something; before it:\n%safter it:\n%s", before, after))
		}
	}()
	if shared.world, err = story.Open(ctx, shared.programs, world); err != nil {
		return 1, err
	}
	defer shared.world.Close()
	return m.Run(), nil
}
