package git

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-git/go-git/v5/plumbing/transport/client"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"

	"dockline/pkg/fault"
)

func init() {
	// go-git's own client reads the proxies from the process's environment, and takes one of a call for every address that
	// a redirect leads to. This asks the call's own function for each address.
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // it is one
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if proxy, ok := r.Context().Value(proxyKey{}).(func(*url.URL) (*url.URL, error)); ok && proxy != nil {
			return proxy(r.URL)
		}
		return nil, nil
	}
	transport.OnProxyConnectResponse = throughProxy
	for _, protocol := range []string{"http", "https"} {
		client.InstallProtocol(protocol, githttp.NewClient(&http.Client{Transport: transport}))
	}
}

type proxyKey struct{}

func withProxy(ctx context.Context, proxy func(*url.URL) (*url.URL, error)) context.Context {
	return context.WithValue(ctx, proxyKey{}, proxy)
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
