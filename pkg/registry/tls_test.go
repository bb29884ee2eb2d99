package registry_test

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/certificate"
	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

func certified(t testing.TB) certificate.Certificate {
	t.Helper()
	made, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func serving(t testing.TB, made certificate.Certificate) *tls.Config {
	t.Helper()
	pair, err := made.TLS()
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{pair}} //nolint:gosec // a test's server
}

func TestMutualTLS(t *testing.T) {
	t.Parallel()
	server, client, stranger := certified(t), certified(t), certified(t)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := serving(t, server)
		config.MinVersion, config.MaxVersion = version, version
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(client.CertificatePEM)
		var handshakes atomic.Int32
		config.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { handshakes.Add(1); return nil, nil }
		host := faultyregistry.Start(t).ServeTLS(t, config)
		for _, row := range []struct {
			description string
			shown       certificate.Certificate
			insecure    bool
			kind        fault.Kind
		}{
			{"the right one", client, false, 0},
			{"the right one, with the server's unchecked", client, true, 0},
			{"none", certificate.Certificate{}, false, fault.Denied},
			{"another's", stranger, false, fault.Denied},
		} {
			before := handshakes.Load()
			_, _, err := open(t, registry.Config{
				Address: host, CA: server.CertificatePEM, Insecure: row.insecure,
				Certificate: row.shown.CertificatePEM, Key: row.shown.KeyPEM,
			}).Repository("a/b").Lookup(t.Context(), "1.0")
			if row.kind == 0 {
				if err != nil {
					t.Errorf("%s, %s: %v", tls.VersionName(version), row.description, err)
				}
				continue
			}
			if fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), "client certificate") {
				t.Errorf("%s, %s: error %v of kind %v", tls.VersionName(version), row.description, err, fault.KindOf(err))
			}
			if tried := handshakes.Load() - before; tried > 1 {
				t.Errorf("%s, %s: tried %d times", tls.VersionName(version), row.description, tried)
			}
		}
	}
}

// TestSidesShareNoTrust: what one side accepts, or shows, is no matter of the other's.
func TestSidesShareNoTrust(t *testing.T) {
	t.Parallel()
	first, second := certified(t), certified(t)
	one := faultyregistry.Start(t).ServeTLS(t, serving(t, first))
	other := faultyregistry.Start(t).ServeTLS(t, serving(t, second))
	for _, row := range []struct {
		description string
		config      registry.Config
		works       bool
	}{
		{"its own CA", registry.Config{Address: one, CA: first.CertificatePEM}, true},
		{"the other's CA", registry.Config{Address: other, CA: first.CertificatePEM}, false},
		{"unchecked", registry.Config{Address: one, Insecure: true}, true},
		{"the other, after that", registry.Config{Address: other}, false},
		{"the same again, checked", registry.Config{Address: one}, false},
	} {
		_, _, err := open(t, row.config).Repository("a/b").Lookup(t.Context(), "1.0")
		if (err == nil) != row.works || err != nil && !strings.Contains(err.Error(), "checking its certificate") {
			t.Errorf("%s: %v", row.description, err)
		}
	}
}

func TestAClientCertificateThatIsNone(t *testing.T) {
	t.Parallel()
	made, other := certified(t), certified(t)
	for description, config := range map[string]registry.Config{
		"without its key":    {Certificate: made.CertificatePEM},
		"a key alone":        {Key: made.KeyPEM},
		"another's key":      {Certificate: made.CertificatePEM, Key: other.KeyPEM},
		"a key that is none": {Certificate: made.CertificatePEM, Key: []byte("secret nonsense")},
	} {
		config.Address = "registry.example.com"
		_, err := registry.Open(config)
		if fault.KindOf(err) != fault.Configuration || strings.Contains(err.Error(), "nonsense") {
			t.Errorf("%s: error %v of kind %v", description, err, fault.KindOf(err))
		}
	}
}

// TestTheClientCertificateIsForTheRegistryAlone: others may ask for it, and go without.
func TestTheClientCertificateIsForTheRegistryAlone(t *testing.T) {
	t.Parallel()
	server, client := certified(t), certified(t)
	var mu sync.Mutex
	shown := map[string]int{} // certificates, by who asked
	serve := func(name string, serve http.HandlerFunc) string {
		one := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			shown[name] = max(shown[name], len(r.TLS.PeerCertificates))
			mu.Unlock()
			serve(w, r)
		}))
		one.TLS = serving(t, server)
		one.TLS.ClientAuth = tls.RequestClientCert
		one.StartTLS()
		t.Cleanup(one.Close)
		return one.Listener.Addr().String()
	}
	content := strings.Repeat("x", 2<<20) // large enough for a connection of its own
	blob := v1.Descriptor{Digest: manifestOf(t, "", content).Digest, Size: int64(len(content))}
	store := serve("the store of blobs", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, content) })
	tokens := serve("the token service", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"token":"x"}`) })
	host := serve("the registry", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://`+tokens+`/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		http.Redirect(w, r, "https://"+store+"/blob", http.StatusTemporaryRedirect)
	})
	opened := open(t, registry.Config{Address: host, CA: server.CertificatePEM, Certificate: client.CertificatePEM, Key: client.KeyPEM})
	reader, err := opened.Repository("a/b").Blob(t.Context(), blob)
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	if _, err := io.Copy(io.Discard, reader); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]int{"the registry": 1, "the token service": 0, "the store of blobs": 0}, shown); diff != "" {
		t.Errorf("certificates that were shown (-want +got):\n%s", diff)
	}
}
