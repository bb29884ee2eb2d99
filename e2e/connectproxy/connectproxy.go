// Package connectproxy is an http proxy with an account that knows one server: whatever host it is asked for by CONNECT, it
// leads there. So a client can be given a name that nothing but the proxy resolves.
package connectproxy

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
)

// Proxy is a running proxy.
type Proxy struct {
	Address string // HOST:PORT

	server *httptest.Server
	mu     sync.Mutex
	asked  []string
}

// Start starts a proxy to a server, for who gives "USER:PASSWORD".
func Start(to, account string) *Proxy {
	p := &Proxy{}
	p.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Proxy-Authorization"), "Basic "))
		switch {
		case string(given) != account:
			w.WriteHeader(http.StatusProxyAuthRequired)
		case r.Method != http.MethodConnect:
			w.WriteHeader(http.StatusNotImplemented)
		default:
			p.mu.Lock()
			p.asked = append(p.asked, r.Host)
			p.mu.Unlock()
			tunnel(w, to)
		}
	}))
	p.Address = p.server.Listener.Addr().String()
	return p
}

// Asked returns the addresses that it was asked for.
func (p *Proxy) Asked() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string(nil), p.asked...)
}

// Close ends the proxy.
func (p *Proxy) Close() { p.server.Close() }

func tunnel(w http.ResponseWriter, to string) {
	far, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	near, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = far.Close()
		return
	}
	_, _ = fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
	pass := func(to, from net.Conn) {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}
	go pass(far, near)
	go pass(near, far)
}
