// Command serve is a web server for the pages of one directory:
//
//	serve DIR
//
// It listens on port 8080, or on PORT; ADDRESS narrows that to one address, such as 127.0.0.1.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "serve:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) != 1 {
		return errors.New("the directory to serve is missing")
	}
	pages, err := os.OpenRoot(args[0])
	if err != nil {
		return err
	}
	defer pages.Close()
	listener, err := net.Listen("tcp", net.JoinHostPort(os.Getenv("ADDRESS"), cmp.Or(os.Getenv("PORT"), "8080")))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.FileServerFS(pages.FS()), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	fmt.Println("listening on", listener.Addr())
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
