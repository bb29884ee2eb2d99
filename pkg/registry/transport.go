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

// newTransport makes the connections of one side: its own CA, its own client certificate, its own rules, shared with no
// other side.
func newTransport(config Config) (*http.Transport, error) {
	// The system's pool is read now, not at the first handshake: what lies on disk may not be trustworthy later.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(config.CA) > 0 && !pool.AppendCertsFromPEM(config.CA) {
		return nil, fault.New(fault.Configuration, "reading the CA file: it holds no certificate in PEM form")
	}
	own, err := clientCertificate(config)
	if err != nil {
		return nil, err
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:                  proxyOf(config),
		OnProxyConnectResponse: throughProxy,
		DialContext:            dial,
		TLSClientConfig: &tls.Config{
			RootCAs:            pool,
			Certificates:       own,
			MinVersion:         tls.VersionTLS12,
			InsecureSkipVerify: config.Insecure, //nolint:gosec // asked for by the configuration
		},
		TLSHandshakeTimeout: 15 * time.Second,
		ForceAttemptHTTP2:   true,
		DisableCompression:  true, // digests are of the bytes as they are
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}, nil
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
	switch status := answer.StatusCode; {
	case status == http.StatusOK:
		return nil
	case status == http.StatusProxyAuthRequired || status == http.StatusForbidden:
		return fault.New(fault.Denied, "connecting through the proxy %q: it answers %d %s",
			proxy.Host, status, http.StatusText(status))
	default:
		err := fault.New(fault.Unavailable, "connecting through the proxy %q: it answers %d %s",
			proxy.Host, status, http.StatusText(status))
		if transientStatus(status) {
			return &transientError{err}
		}
		return err
	}
}
