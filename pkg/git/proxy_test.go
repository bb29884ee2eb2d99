package git_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
)

// startProxy is a proxy with an account that lets CONNECT through to one server, whatever name it is asked for.
func startProxy(t *testing.T, to string) (address *url.URL, asked func() []string) {
	t.Helper()
	var lock sync.Mutex
	var names []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Proxy-Authorization"), "Basic "))
		if string(account) != "build:s3cr3t-of-the-proxy" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		lock.Lock()
		names = append(names, r.Method+" "+r.Host+" "+r.Header.Get("Authorization"))
		lock.Unlock()
		far, err := net.Dial("tcp", to)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		near, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(far, near); _ = far.Close() }()
		go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
	}))
	t.Cleanup(server.Close)
	address, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return address, func() []string {
		lock.Lock()
		defer lock.Unlock()
		return names
	}
}

// TestCloneThroughAProxy: the server has a name that only the proxy knows, and a certificate for it.
func TestCloneThroughAProxy(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	server := serve(t, gitserver.Options{Root: h.root, Username: "release", Password: "s3cr3t-of-git"}, true)
	address, asked := startProxy(t, strings.TrimPrefix(server.URL, "https://"))
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
	if got := asked(); len(got) == 0 || got[0] != "CONNECT example.com:443 " {
		t.Errorf("the proxy was asked for %q", got)
	}
	before := len(asked())
	if err := clone(nil, strings.TrimPrefix(server.URL, "https://")); err != nil || len(asked()) != before {
		t.Errorf("without the proxy: %v; it was asked for %q", err, asked())
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
