// Package serve is what the tests' servers have in common as programs: where they listen, and when they end. (The registry
// of the demo is a module of its own, and does the same by itself.)
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"net"
	"net/http"
	"time"
)

// Flags are set by the program's flags -listen, -certificate and -key.
type Flags struct{ listen, certificate, key string }

// NewFlags defines the flags.
func NewFlags(set *flag.FlagSet) *Flags {
	f := &Flags{}
	set.StringVar(&f.listen, "listen", "127.0.0.1:0", "loopback address to listen on; port 0 chooses one")
	set.StringVar(&f.certificate, "certificate", "", "TLS certificate (PEM); empty means plain http")
	set.StringVar(&f.key, "key", "", "the certificate's key (PEM)")
	return f
}

// Until answers by a handler until ctx ends, by HTTP/1.1. It calls say with its scheme and address as soon as it listens.
func (f *Flags) Until(ctx context.Context, handler http.Handler, say func(scheme string, address net.Addr)) error {
	listener, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	server := &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Minute,
		// Not HTTP/2: a handler that reads its requests' bodies one at a time would have the others' bytes fill the
		// connection's window.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if f.certificate == "" {
		say("http", listener.Addr())
		err = server.Serve(listener)
	} else {
		say("https", listener.Addr())
		err = server.ServeTLS(listener, f.certificate, f.key)
	}
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
