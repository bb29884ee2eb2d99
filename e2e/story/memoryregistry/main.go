// Command memoryregistry stands in for e2e/registry where the story itself is tested and not the registry: it takes the
// same flags, keeps all in memory, and is compiled in seconds.
package main

import (
	"crypto/subtle"
	"crypto/tls"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "memoryregistry:", err)
		os.Exit(1)
	}
}

func run() error {
	flag.String("root", "", "not used")
	listen := flag.String("listen", "127.0.0.1:0", "loopback address to listen on; port 0 chooses one")
	username := flag.String("username", "", "the account; its password is in the variable PASSWORD")
	certificate := flag.String("certificate", "", "TLS certificate (PEM)")
	key := flag.String("key", "", "the certificate's key (PEM)")
	flag.Parse()

	listener, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	account := *username + "\x00" + os.Getenv("PASSWORD")
	// Not HTTP/2: what keeps the blobs reads one at a time, and the others' bytes would fill the connection's window.
	server := &http.Server{TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){}}
	server.ReadHeaderTimeout = time.Minute
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	fmt.Println(listener.Addr())
	return server.ServeTLS(listener, *certificate, *key)
}
