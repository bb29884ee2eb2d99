package registry_test

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

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// proxy lets CONNECT through to one server, whatever name it is asked for.
type proxy struct {
	*httptest.Server

	mu     sync.Mutex
	asked  []string // "HOST:PORT USER:PASSWORD"
	answer int      // instead of letting through, 0 for none
}

func startProxy(t testing.TB, to string) *proxy {
	t.Helper()
	p := &proxy{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, _ := base64.StdEncoding.DecodeString(strings.TrimPrefix(r.Header.Get("Proxy-Authorization"), "Basic "))
		p.mu.Lock()
		p.asked = append(p.asked, r.Host+" "+string(account))
		answer := p.answer
		p.mu.Unlock()
		if answer == 0 && r.Method != http.MethodConnect {
			answer = http.StatusNotImplemented
		}
		if answer != 0 {
			w.WriteHeader(answer)
			return
		}
		tunnel(w, to)
	}))
	t.Cleanup(p.Close)
	return p
}

func tunnel(w http.ResponseWriter, to string) {
	server, err := net.Dial("tcp", to)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	client, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(server, client)
		_ = server.Close()
	}()
	go func() {
		_, _ = io.Copy(client, server)
		_ = client.Close()
	}()
}

func (p *proxy) with(account *url.Userinfo) func(*url.URL) (*url.URL, error) {
	at := &url.URL{Scheme: "http", Host: p.Listener.Addr().String(), User: account}
	return func(*url.URL) (*url.URL, error) { return at, nil }
}

func TestProxy(t *testing.T) {
	t.Parallel()
	certificate := certified(t)
	behind := faultyregistry.Start(t).ServeTLS(t, serving(t, certificate))
	for _, row := range []struct {
		description string
		answer      int
		kind        fault.Kind
		asked       int
	}{
		{"lets through", 0, 0, 1},
		{"wants another account", http.StatusProxyAuthRequired, fault.Denied, 1},
		{"forbids the host", http.StatusForbidden, fault.Denied, 1},
		{"does not reach the host", http.StatusBadGateway, fault.Unavailable, impatient.Attempts},
		{"knows no CONNECT", http.StatusNotFound, fault.Unavailable, 1},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			between := startProxy(t, behind)
			between.answer = row.answer
			_, _, err := open(t, registry.Config{
				Address: behind, CA: certificate.CertificatePEM, Patience: impatient,
				Proxy: between.with(url.UserPassword("user", "the-proxys-secret")),
			}).Repository("a/b").Lookup(t.Context(), "1.0")
			if row.kind == 0 && err != nil || row.kind != 0 && fault.KindOf(err) != row.kind {
				t.Errorf("error %v of kind %v, want %v", err, fault.KindOf(err), row.kind)
			}
			if err != nil && (strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), between.Listener.Addr().String())) {
				t.Errorf("the error shows the password, or not the proxy: %v", err)
			}
			if len(between.asked) != row.asked || between.asked[0] != behind+" user:the-proxys-secret" {
				t.Errorf("the proxy was asked %q", between.asked)
			}
		})
	}
}

func TestAProxyThatIsNotThere(t *testing.T) {
	t.Parallel()
	gone := startProxy(t, "")
	gone.Close()
	_, _, err := open(t, registry.Config{
		Address: "registry.example.com", Patience: impatient, Proxy: gone.with(nil),
	}).Repository("a/b").Lookup(t.Context(), "1.0")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "connecting through the proxy") {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
}
