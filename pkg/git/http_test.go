package git_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"dockline/e2e/connectproxy"
	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
)

// TestCloneThroughAProxy: the server has a name that only the proxy knows, and a certificate for it.
func TestCloneThroughAProxy(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	server := serve(t, gitserver.Options{Root: h.root, Username: "release", Password: "s3cr3t-of-git"}, true)
	proxy := connectproxy.Start(strings.TrimPrefix(server.URL, "https://"), "build:s3cr3t-of-the-proxy")
	t.Cleanup(proxy.Close)
	address := &url.URL{Scheme: "http", Host: proxy.Address}
	clone := func(account *url.Userinfo, host string) error {
		at := *address
		at.User = account
		_, err := git.Clone(t.Context(), git.Options{
			URL: "https://" + host + "/team/hello.git", Dir: t.TempDir(), CA: server.CA,
			Username: "release", Password: "s3cr3t-of-git", Pauses: []time.Duration{},
			Proxy: func(to *url.URL) (*url.URL, error) {
				if to.Hostname() != "example.com" { // as NO_PROXY says
					return nil, nil
				}
				return &at, nil
			},
		})
		return err
	}

	if err := clone(url.UserPassword("build", "s3cr3t-of-the-proxy"), "example.com"); err != nil {
		t.Error(err)
	}
	if got := proxy.Asked(); len(got) == 0 || got[0] != "example.com:443" {
		t.Errorf("the proxy was asked for %q", got)
	}
	before := len(proxy.Asked())
	if err := clone(nil, strings.TrimPrefix(server.URL, "https://")); err != nil || len(proxy.Asked()) != before {
		t.Errorf("without the proxy: %v; it was asked for %q", err, proxy.Asked())
	}
	err := clone(url.UserPassword("build", "wrong-s3cr3t"), "example.com")
	if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "connecting through the proxy") ||
		!strings.Contains(err.Error(), "407") || strings.Contains(err.Error(), "s3cr3t") {
		t.Errorf("with a wrong account: %v", err)
	}
	address.Host = "127.0.0.1:1"
	err = clone(url.UserPassword("build", "s3cr3t-of-the-proxy"), "example.com")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "connecting through the proxy") {
		t.Errorf("with a proxy that is gone: %v", err)
	}
}
