// Command gitserver serves the bare repositories of a directory over HTTP until it is told to stop:
//
//	gitserver -root DIR -listen 127.0.0.1:0 -username USER -certificate FILE -key FILE
//
// The password, if any, comes from PASSWORD. The first line of its output is its URL.
package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"dockline/e2e/gitserver"
	"dockline/e2e/serve"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "gitserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	root := flag.String("root", ".", "directory of the bare repositories")
	user := flag.String("username", "git", "user name to ask for, when PASSWORD is set")
	server := serve.NewFlags(flag.CommandLine)
	flag.Parse()

	handler, err := gitserver.Handler(gitserver.Options{
		Root: *root, Username: *user, Password: os.Getenv("PASSWORD"),
	})
	if err != nil {
		return err
	}
	return server.Until(ctx, handler, func(scheme string, address net.Addr) { fmt.Printf("%s://%s\n", scheme, address) })
}
