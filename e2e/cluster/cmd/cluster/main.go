// Command cluster brings a Kubernetes with Tekton up on this machine, and takes it down again. The first time it compiles
// both, which can be done beforehand:
//
//	go run ./e2e/cluster/cmd/cluster compile
//	go run ./e2e/cluster/cmd/cluster up
//	KUBECONFIG=.build/cluster/run/admin.kubeconfig .build/cluster/bin/kubectl get nodes
//	go run ./e2e/cluster/cmd/cluster down
package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"

	"dockline/e2e/cluster"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	root, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "dockline").Output()
	if err != nil {
		return fmt.Errorf("finding the project: %w", err)
	}
	c := cluster.At(strings.TrimSpace(string(root)))
	say := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	switch strings.Join(args, " ") {
	case "compile":
		return c.Compile(ctx, say)
	case "up":
		if err := c.Up(ctx, say); err != nil {
			return err
		}
		for _, variable := range c.Environ() {
			fmt.Println("export", variable)
		}
		return nil
	case "down":
		return c.Down(ctx)
	}
	return fmt.Errorf("usage: cluster compile, cluster up, or cluster down")
}
