package kaniko

import (
	"net"
	"net/http"

	"dockline/pkg/fault"
)

// door is the proxy for another executor, which can be told of a registry in another's place, and not of a proxy that it
// asks for loopback too: it looks like the registry host, and lets in who knows the proxy's password.
type door struct {
	*proxy
	host string
}

// openDoors listens once more for each of the registries, and returns the addresses by host.
func (p *proxy) openDoors() (map[string]string, error) {
	addresses := map[string]string{}
	for _, host := range p.hosts() {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, fault.New(fault.Unexpected, "listening on loopback for the build's pulls: %w", err)
		}
		server := p.newServer(door{p, host})
		p.doors = append(p.doors, server)
		go func() {
			var crash error // the executor's pulls fail then
			defer fault.Catch(&crash)
			_ = server.Serve(listener) // ends with close
		}()
		addresses[host] = listener.Addr().String()
	}
	return addresses, nil
}

// ServeHTTP answers as the registry would.
func (d door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if !d.isPassword(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="build"`)
		refuse(w, http.StatusUnauthorized, "only the build itself is served")
		return
	}
	r.URL.Host = d.host
	d.answer(w, r)
}
