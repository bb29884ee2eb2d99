// Command demo tells the story of one service from Git to production with the real programs: two registries, a Git
// server and a small cluster are started on loopback, and the four steps are run as a pipeline would run them. It ends
// with exit status 0 only if everything that must be true on the way was.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"dockline/e2e/sandbox"
	"dockline/e2e/story"
)

func main() {
	sandbox.Init()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// The demo's own test has it compile sooner, and tell something that is not true.
var (
	compile = story.Compile
	check   func(context.Context, story.Fact) error // nil asks each fact once
)

// limit bounds the story, compiling not included.
const limit = 10 * time.Minute

func run(ctx context.Context) (err error) {
	if err := sandbox.Available(); err != nil {
		return fmt.Errorf("the steps cannot be run in namespaces of their own: %w", err)
	}
	dir, err := os.MkdirTemp("", "dockline-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	programs, world, sandboxes := filepath.Join(dir, "bin"), filepath.Join(dir, "world"), filepath.Join(dir, "sandboxes")
	for _, folder := range []string{programs, world, sandboxes} {
		if err := os.Mkdir(folder, 0o755); err != nil { //nolint:gosec // pods run as another user
			return err
		}
	}
	started := time.Now()
	fmt.Println("Compiling the steps and the servers (some minutes when it is done for the first time)")
	if err := compile(ctx, programs); err != nil {
		return err
	}
	fmt.Printf("    %.1f s\n", time.Since(started).Seconds())

	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	started = time.Now()
	fmt.Println("Starting two registries, a Git server and a small cluster")
	stage, err := story.Open(ctx, programs, world)
	if err != nil {
		return err
	}
	defer stage.Close()
	fmt.Printf("    %.1f s\n\n", time.Since(started).Seconds())

	started = time.Now()
	teller := &story.Teller{Out: os.Stdout, Check: check}
	if err := story.Tell(ctx, stage, story.Sandboxed{Programs: programs, Dir: sandboxes}, teller); err != nil {
		return err
	}
	fmt.Printf("\n%d facts held, in %.1f s.\n", teller.Facts, time.Since(started).Seconds())
	return nil
}
