package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"dockline/pkg/fault"
)

func init() {
	// go-git's own client reads the proxies from the process's environment, takes one of a call for every address that a
	// redirect leads to, and lists references twice. This uses what the call's context brings.
	for _, protocol := range []string{"http", "https"} {
		client.InstallProtocol(protocol, githttp.NewClient(&http.Client{Transport: listing{ofCall{}}}))
	}
}

// ofCall is the transport that the request's context brings.
type ofCall struct{}

type transportKey struct{}

// RoundTrip implements http.RoundTripper.
func (ofCall) RoundTrip(request *http.Request) (*http.Response, error) {
	transport, ok := request.Context().Value(transportKey{}).(*http.Transport)
	if !ok {
		return nil, fault.New(fault.Unexpected, "asking %q: nothing was said of how to reach it", request.URL.Host)
	}
	return transport.RoundTrip(request)
}

// withHTTP says how http servers are reached: through which proxy, and which certificates are trusted beside the system's
// (PEM). End closes the connections.
func withHTTP(ctx context.Context, proxy func(*url.URL) (*url.URL, error), ca []byte) (_ context.Context, end func(), err error) {
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if proxy == nil {
			return nil, nil
		}
		return proxy(r.URL)
	}
	transport.OnProxyConnectResponse = throughProxy
	if len(ca) > 0 {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, nil, fmt.Errorf("reading the system's certificates: %w", err)
		}
		if !pool.AppendCertsFromPEM(ca) {
			return nil, nil, fault.New(fault.Configuration, "reading the CA's certificates: there is none in it (PEM)")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return context.WithValue(ctx, transportKey{}, transport), transport.CloseIdleConnections, nil
}

// throughProxy says what a proxy answers to CONNECT. Its address is told without its account.
func throughProxy(_ context.Context, proxy *url.URL, _ *http.Request, answer *http.Response) error {
	kind := fault.Unavailable
	switch answer.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusProxyAuthRequired, http.StatusForbidden:
		kind = fault.Denied
	}
	return fault.New(kind, "connecting through the proxy %q: it answers %d %s",
		proxy.Host, answer.StatusCode, http.StatusText(answer.StatusCode))
}
