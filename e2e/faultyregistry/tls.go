package faultyregistry

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"testing"
)

// ServeTLS has the registry answer https too, by that configuration, at the "127.0.0.1:PORT" that it returns, until the
// test ends.
func (r *Registry) ServeTLS(t testing.TB, config *tls.Config) (host string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(r.serve))
	server.TLS = config
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.Listener.Addr().String()
}
