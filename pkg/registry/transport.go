package registry

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"time"

	"dockline/pkg/fault"
)

// newTransport makes the connections of one side: its own CA, its own rules, shared with no other side. Proxies are
// those of the environment (HTTPS_PROXY, NO_PROXY), as every HTTP client has it.
func newTransport(config Config) (*http.Transport, error) {
	// The system's pool is read now, not at the first handshake: what lies on disk may not be trustworthy later.
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if len(config.CA) > 0 && !pool.AppendCertsFromPEM(config.CA) {
		return nil, fault.New(fault.Configuration, "reading the CA file: it holds no certificate in PEM form")
	}
	dial := config.Dial
	if dial == nil {
		dial = (&net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}).DialContext
	}
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: dial,
		TLSClientConfig: &tls.Config{
			RootCAs:            pool,
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
