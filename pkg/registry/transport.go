package registry

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"dockline/pkg/fault"
)

// idlePerHost is how many connections are kept for what comes next: as many as there are ever requests under way.
const idlePerHost = mostLanes

// transports are the connections of one side, of which there are two kinds in https: short calls share one connection
// by HTTP/2 where that is offered, large bodies have connections of their own. On a shared one all bodies share one
// window, 1 MiB for a server in Go: what arrives in a round trip at most, and where a server reads one body at a time
// the others fill it, and nothing moves any more. In plain http the two are the same.
type transports struct{ short, bulk *http.Transport }

// newTransports makes the connections of one side: its own CA, its own rules, shared with no other side. Proxies are
// those of the environment (HTTPS_PROXY, NO_PROXY), as every HTTP client has it.
func newTransports(config Config) (transports, error) {
	// The system's pool is read now, not at the first handshake: what lies on disk may not be trustworthy later.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(config.CA) > 0 && !pool.AppendCertsFromPEM(config.CA) {
		return transports{}, fault.New(fault.Configuration, "reading the CA file: it holds no certificate in PEM form")
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	short := &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: dial,
		TLSClientConfig: &tls.Config{
			RootCAs:            pool,
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: config.Insecure, //nolint:gosec // asked for by the configuration
			ClientSessionCache: tls.NewLRUClientSessionCache(0),
		},
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // digests are of the bytes as they are
		MaxIdleConnsPerHost: idlePerHost,
		IdleConnTimeout:     90 * time.Second,
		// Far more than any registry sends, and less than the 10 MB that Go would hold, for each answer.
		MaxResponseHeaderBytes: 256 << 10,
	}
	bulk := short.Clone()
	bulk.ForceAttemptHTTP2 = false
	bulk.Protocols = new(http.Protocols)
	bulk.Protocols.SetHTTP1(true)
	bulk.TLSClientConfig.NextProtos = nil
	return transports{short, bulk}, nil
}

// of returns what carries a message.
func (t transports) of(message *http.Request, bulk bool) *http.Transport {
	if bulk && message.URL.Scheme == "https" {
		return t.bulk
	}
	return t.short
}

func (t transports) close() {
	t.short.CloseIdleConnections()
	t.bulk.CloseIdleConnections()
}
