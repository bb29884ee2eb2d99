package registry

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"dockline/pkg/fault"
)

// idlePerHost is how many connections are kept for what comes next: as many as there are ever requests under way.
const idlePerHost = mostLanes

// transports are the connections of one side, of which there are two kinds in https: short calls share one connection
// by HTTP/2 where that is offered, large bodies have connections of their own. On a shared one all bodies share one
// window, 1 MiB for a server in Go: what arrives in a round trip at most, and where a server reads one body at a time
// the others fill it, and nothing moves any more. In plain http the two are the same.
type transports struct {
	own      string // the registry's host
	to, away lines  // to that host, and to where it leads: the same but for the client certificate
	ahead    *ahead
}

type lines struct{ short, bulk *http.Transport }

// newTransports makes the connections of one side: its own CA, its own client certificate, its own rules, shared with no
// other side. The certificate is for the registry's own host. Where that leads to, a store of blobs or a token service,
// is for the registry to say, and whoever is asked there by us would be asked in our name.
func newTransports(config Config, host string) (transports, error) {
	// The system's pool is read now, not at the first handshake: what lies on disk may not be trustworthy later.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(config.CA) > 0 && !pool.AppendCertsFromPEM(config.CA) {
		return transports{}, fault.New(fault.Configuration, "reading the CA file: it holds no certificate in PEM form")
	}
	own, err := clientCertificate(config)
	if err != nil {
		return transports{}, err
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	early := &ahead{dial: widely(dial), number: config.Ahead}
	short := &http.Transport{
		Proxy:                  proxyOf(config),
		OnProxyConnectResponse: throughProxy,
		DialContext:            early.connect,
		TLSClientConfig: &tls.Config{
			RootCAs:            pool,
			Certificates:       own,
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
	made := transports{own: host, to: linesOf(short), ahead: early}
	made.away = made.to
	if own != nil {
		without := short.Clone()
		without.TLSClientConfig.Certificates = nil
		without.TLSClientConfig.ClientSessionCache = tls.NewLRUClientSessionCache(0)
		made.away = linesOf(without)
	}
	return made, nil
}

func linesOf(short *http.Transport) lines {
	bulk := short.Clone()
	bulk.ForceAttemptHTTP2 = false
	bulk.Protocols = new(http.Protocols)
	bulk.Protocols.SetHTTP1(true)
	bulk.TLSClientConfig.NextProtos = nil
	return lines{short, bulk}
}

// of returns what carries a message.
func (t transports) of(message *http.Request, bulk bool) *http.Transport {
	to := t.to
	if canonicalHost(message.URL.Host) != t.own {
		to = t.away
	}
	if bulk && message.URL.Scheme == "https" {
		return to.bulk
	}
	return to.short
}

func (t transports) close() {
	t.ahead.close()
	for _, one := range []*http.Transport{t.to.short, t.to.bulk, t.away.short, t.away.bulk} {
		one.CloseIdleConnections()
	}
}

// clientCertificate reads what is shown to a registry that asks for a certificate. Errors never quote the key.
func clientCertificate(config Config) ([]tls.Certificate, error) {
	switch {
	case len(config.Certificate) == 0 && len(config.Key) == 0:
		return nil, nil
	case len(config.Certificate) == 0 || len(config.Key) == 0:
		return nil, fault.New(fault.Configuration, "a client certificate and its key are given together, or neither")
	}
	pair, err := tls.X509KeyPair(config.Certificate, config.Key)
	if err != nil {
		return nil, fault.New(fault.Configuration, "reading the client certificate and its key: %w", err)
	}
	return []tls.Certificate{pair}, nil
}

// alertOfCertificate matches the alerts (RFC 8446, section 6.2, in crypto/tls's words) by which a server says that it
// wants a client certificate, or not this one.
var alertOfCertificate = regexp.MustCompile(`remote error: tls: (certificate required|access denied|handshake failure|` +
	`(bad|unsupported|revoked|expired|unknown) certificate|unknown certificate authority)$`)

// certificateRefused tells whether the connection was ended for want of a client certificate that the server takes. To
// try again would not help.
func certificateRefused(err error) bool {
	wrong, ok := errors.AsType[*net.OpError](err)
	return ok && alertOfCertificate.MatchString(wrong.Error())
}

func proxyOf(config Config) func(*http.Request) (*url.URL, error) {
	if config.Proxy == nil {
		return nil
	}
	return func(r *http.Request) (*url.URL, error) { return config.Proxy(r.URL) }
}

// throughProxy says what a proxy answers to CONNECT, which would else pass for a loss of the connection. The proxy's
// address is told without its account.
func throughProxy(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	said := func(kind fault.Kind) error {
		return fault.New(kind, "connecting through the proxy %q: it answers %d %s",
			proxy.Host, answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired, http.StatusForbidden:
		return said(fault.Denied)
	}
	if transientStatus(answer.StatusCode) {
		return &transientError{said(fault.Unavailable)}
	}
	return said(fault.Unavailable)
}
