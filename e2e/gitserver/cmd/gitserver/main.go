// Command gitserver serves the bare repositories of a directory over HTTP until it is told to stop:
//
//	gitserver -root DIR -listen 127.0.0.1:0 -username USER -certificate FILE -key FILE
//
// The password, if any, comes from PASSWORD. The first line of its output is its URL.
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
	user := flag.String("username", "git", "user name to ask for, when PASSWORD is set")
	certificate := flag.String("certificate", "", "TLS certificate (PEM); empty means plain http")
	key := flag.String("key", "", "the certificate's key (PEM)")
	flag.Parse()

	handler, err := gitserver.Handler(gitserver.Options{
		Root: *root, Username: *user, Password: os.Getenv("PASSWORD"),
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if *certificate != "" {
		fmt.Println("https://" + listener.Addr().String())
		err = server.ServeTLS(listener, *certificate, *key)
	} else {
		fmt.Println("http://" + listener.Addr().String())
		err = server.Serve(listener)
	}
	if !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
