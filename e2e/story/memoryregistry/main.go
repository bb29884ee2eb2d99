// Command memoryregistry stands in for e2e/registry where the story itself is tested and not the registry: it takes the
// same flags, keeps all in memory, and is compiled in seconds.
package main

import (
	"context"
	"crypto/subtle"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"

	"github.com/google/go-containerregistry/pkg/registry"

	"dockline/e2e/serve"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "memoryregistry:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	flag.String("root", "", "not used")
	username := flag.String("username", "", "the account; its password is in the variable PASSWORD")
	server := serve.NewFlags(flag.CommandLine)
	flag.Parse()

	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	account := *username + "\x00" + os.Getenv("PASSWORD")
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(account)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`)
			return
		}
		open.ServeHTTP(w, r)
	})
	return server.Until(ctx, handler, func(_ string, address net.Addr) { fmt.Println(address) })
}
