// Command gitserver serves the bare repositories of a directory over HTTP until it is told to stop:
//
//	gitserver -root DIR -listen 127.0.0.1:0 -username USER
//
// The password, if any, comes from GITSERVER_PASSWORD. The first line of its output is its URL.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"dockline/e2e/gitserver"
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
	listen := flag.String("listen", "127.0.0.1:0", "address to listen on")
	user := flag.String("username", "git", "user name to ask for, when GITSERVER_PASSWORD is set")
	flag.Parse()

	handler, err := gitserver.Handler(gitserver.Options{
		Root: *root, Username: *user, Password: os.Getenv("GITSERVER_PASSWORD"),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Println("http://" + listener.Addr().String())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
