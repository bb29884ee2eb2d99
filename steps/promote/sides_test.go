package promote

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"dockline/e2e/certificate"
	"dockline/e2e/faultyregistry"
)

// accounts are those of one host: one may only read the repositories of testing, the other only those of production.
type accounts struct {
	*faultyregistry.Registry
	digest string
	hidden faultyregistry.Fault

	mu     sync.Mutex
	mounts []string // requests to mount
	asked  []string // of the token service: "USER SCOPE,SCOPE"
}

func newAccounts(t testing.TB) *accounts {
	t.Helper()
	a := &accounts{Registry: faultyregistry.Start(t)}
	a.digest = push(t, a.Registry, "testing/"+hello+":1.0", twoPlatforms(t, "c0ffee"))
	// The registry in process has one store of blobs for all its repositories; a real one does not show them so.
	a.hidden = faultyregistry.Status(http.StatusNotFound, "BLOB_UNKNOWN")
	a.Break("HEAD /v2/production/"+hello+"/blobs/", -1, a.hidden)
	return a
}

// may tells what an account is allowed: "pull" or "push" in a repository.
func may(user, action, repository string) bool {
	return user == "reader" && strings.HasPrefix(repository, "testing/") && action == "pull" ||
		user == "releaser" && strings.HasPrefix(repository, "production/")
}

// byBasic asks for passwords (HTTP Basic), and refuses a mount from where the account may not read.
func (a *accounts) byBasic() {
	a.Login("reader", "reader's secret")
	a.Login("releaser", "releaser's secret")
	a.Allow(func(user string, r *http.Request) bool {
		action := "push"
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			action = "pull"
		}
		if from := r.URL.Query().Get("from"); from != "" {
			a.mounting(r)
			if !may(user, "pull", from) {
				return false
			}
		}
		repository, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/"+hello)
		return may(user, action, repository+"/")
	})
}

func (a *accounts) mounting(r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.mounts = append(a.mounts, r.URL.RequestURI())
}

// byTokens has a token service give each account what it may do, and no more; a token that lacks a right is refused.
// Strict, the service answers 403 to a wish that goes too far, as some do.
func (a *accounts) byTokens(t testing.TB, strict bool) {
	t.Helper()
	realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		a.mu.Lock()
		a.asked = append(a.asked, user+" "+strings.Join(r.URL.Query()["scope"], ","))
		a.mu.Unlock()
		if password != user+"'s secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		var granted []string
		for _, one := range r.URL.Query()["scope"] {
			parts := strings.Split(one, ":")
			for _, action := range strings.Split(parts[2], ",") {
				switch {
				case may(user, action, parts[1]):
					granted = append(granted, parts[1]+":"+action)
				case strict:
					w.WriteHeader(http.StatusForbidden)
					return
				}
			}
		}
		token := base64.RawURLEncoding.EncodeToString([]byte(strings.Join(granted, " ")))
		fmt.Fprintf(w, `{"token":%q}`, "token."+token)
	}))
	t.Cleanup(realm.Close)
	a.Break("* /v2/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		encoded, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer token.")
		granted, _ := base64.RawURLEncoding.DecodeString(encoded)
		rights := strings.Fields(string(granted))
		before, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), hello)
		repository := before + hello
		wanted := []string{repository + ":push"}
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			wanted = []string{repository + ":pull"}
		}
		if from := r.URL.Query().Get("from"); from != "" {
			a.mounting(r)
			wanted = append(wanted, from+":pull")
		}
		for _, right := range wanted {
			if !slices.Contains(rights, right) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registry",scope="repository:%s"`, realm.URL, right))
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
		}
		if r.Method == http.MethodHead && strings.Contains(r.URL.Path, "/v2/production/") {
			a.hidden(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (a *accounts) variables() map[string]string {
	return map[string]string{
		"IMAGE": hello + ":1.0", "SOURCE_REGISTRY": a.Host() + "/testing", "TARGET_REGISTRY": a.Host() + "/production",
		"SOURCE_REGISTRY_USERNAME": "reader", "SOURCE_REGISTRY_PASSWORD": "reader's secret",
		"TARGET_REGISTRY_USERNAME": "releaser", "TARGET_REGISTRY_PASSWORD": "releaser's secret",
	}
}

// TestTwoAccountsOfOneHostNeitherOfWhichMayDoBoth: the mount that the target's account may not ask for is given up, and
// the blobs travel.
func TestTwoAccountsOfOneHostNeitherOfWhichMayDoBoth(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		start       func(testing.TB, *accounts)
	}{
		{"passwords", func(_ testing.TB, a *accounts) { a.byBasic() }},
		{"tokens", func(t testing.TB, a *accounts) { a.byTokens(t, false) }},
		{"tokens of a strict service", func(t testing.TB, a *accounts) { a.byTokens(t, true) }},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			host := newAccounts(t)
			row.start(t, host)
			got := promote(t, host.variables())
			if got.status != 0 || got.results["DESTINATION_DIGEST"] != host.digest || strings.Contains(got.log, "secret") {
				t.Fatalf("status %d: %s", got.status, got.log)
			}
			host.Allow(func(string, *http.Request) bool { return true })
			for _, asked := range host.asked {
				if strings.HasPrefix(asked, "reader ") != strings.HasPrefix(asked, "reader repository:testing/") {
					t.Errorf("the wrong account asked: %s", asked)
				}
			}
			if len(host.mounts) == 0 && row.description != "tokens of a strict service" {
				t.Error("no mount was tried: the test shows nothing")
			}
			uploads := slices.DeleteFunc(host.Requests(), func(request string) bool {
				return !strings.HasPrefix(request, "PUT /v2/production/"+hello+"/blobs/uploads/")
			})
			if len(uploads) == 0 {
				t.Error("no blob was uploaded")
			}
		})
	}
}

// TestOneFileWithCredentialsByPath: one docker configuration for both sides; the longest path that fits wins.
func TestOneFileWithCredentialsByPath(t *testing.T) {
	t.Parallel()
	host := newAccounts(t)
	host.byBasic()
	entry := func(user, password string) map[string]string {
		return map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}
	}
	for _, row := range []struct {
		description string
		auths       map[string]map[string]string
		status      int
	}{
		{"by the folders of one host", map[string]map[string]string{
			host.Host(): entry("reader", "wrong"), host.Host() + "/testing": entry("reader", "reader's secret"),
			host.Host() + "/production": entry("releaser", "releaser's secret"),
		}, 0},
		{"by the repository, before its folder", map[string]map[string]string{
			host.Host() + "/testing": entry("reader", "reader's secret"), host.Host() + "/production": entry("reader", "reader's secret"),
			host.Host() + "/production/deepsky/awl-deepsky-hello": entry("releaser", "releaser's secret"),
		}, 0},
		{"not by the beginning of a name", map[string]map[string]string{
			host.Host() + "/testing": entry("reader", "reader's secret"),
			host.Host() + "/prod":    entry("releaser", "releaser's secret"),
		}, 5},
	} {
		t.Run(row.description, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config.json")
			if err := os.WriteFile(file, must(json.Marshal(map[string]any{"auths": row.auths})), 0o600); err != nil {
				t.Fatal(err)
			}
			got := promote(t, map[string]string{
				"IMAGE": hello + ":1.0", "SOURCE_REGISTRY": host.Host() + "/testing", "TARGET_REGISTRY": host.Host() + "/production",
				"REGISTRY_AUTH_FILE": file, "LOG_LEVEL": "debug",
			})
			if got.status != row.status || strings.Contains(got.log, "secret") {
				t.Errorf("status %d: %s", got.status, got.log)
			}
		})
	}
}

// secured serves a registry by https, with a certificate of its own, and optionally asks for the client's.
func secured(t testing.TB, of *faultyregistry.Registry, server certificate.Certificate, client *certificate.Certificate) string {
	t.Helper()
	config := &tls.Config{Certificates: []tls.Certificate{must(server.TLS())}, MinVersion: tls.VersionTLS12}
	if client != nil {
		config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
		config.ClientCAs.AppendCertsFromPEM(client.CertificatePEM)
	}
	return of.ServeTLS(t, config)
}

func TestEachSideHasItsOwnTrust(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	source, target, client := must(certificate.New()), must(certificate.New()), must(certificate.New())
	sourceFile, _, err := source.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	targetFile, _, err := target.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	clientFile, keyFile, err := client.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	right := map[string]string{
		"IMAGE":           hello + ":1.0",
		"SOURCE_REGISTRY": secured(t, s.source, source, nil), "TARGET_REGISTRY": secured(t, s.target, target, &client),
		"SOURCE_REGISTRY_INSECURE": "false", "TARGET_REGISTRY_INSECURE": "false",
		"SOURCE_REGISTRY_CA_FILE": sourceFile, "TARGET_REGISTRY_CA_FILE": targetFile,
		"TARGET_REGISTRY_CERT_FILE": clientFile, "TARGET_REGISTRY_KEY_FILE": keyFile,
	}
	for _, row := range []struct {
		description string
		but         []string
		status      int
		last        string
	}{
		{"the source's CA does for the target", []string{"TARGET_REGISTRY_CA_FILE", sourceFile}, 6, "TARGET_REGISTRY_CA_FILE"},
		{"the source unchecked", []string{"SOURCE_REGISTRY_INSECURE", "true", "SOURCE_REGISTRY_CA_FILE", "", "TARGET_REGISTRY_CA_FILE", ""}, 6, "TARGET_REGISTRY_CA_FILE"},
		{"the target unchecked", []string{"TARGET_REGISTRY_INSECURE", "true", "SOURCE_REGISTRY_CA_FILE", ""}, 6, "SOURCE_REGISTRY_CA_FILE"},
		{"no client certificate", []string{"TARGET_REGISTRY_CERT_FILE", "", "TARGET_REGISTRY_KEY_FILE", ""}, 5, "TARGET_REGISTRY_CERT_FILE"},
		{"the source's client certificate", []string{
			"TARGET_REGISTRY_CERT_FILE", "", "TARGET_REGISTRY_KEY_FILE", "", "SOURCE_REGISTRY_CERT_FILE", clientFile, "SOURCE_REGISTRY_KEY_FILE", keyFile,
		}, 5, "TARGET_REGISTRY_CERT_FILE"},
		{"a certificate without its key", []string{"TARGET_REGISTRY_KEY_FILE", ""}, 2, "TARGET_REGISTRY_KEY is missing"},
		{"a key without its certificate", []string{"TARGET_REGISTRY_CERT_FILE", ""}, 2, "TARGET_REGISTRY_CERT_FILE is missing"},
		{"a certificate that is not there", []string{"TARGET_REGISTRY_CERT_FILE", "/does/not/exist"}, 2, "TARGET_REGISTRY_CERT_FILE"},
		{"another's key", []string{"TARGET_REGISTRY_CERT_FILE", sourceFile}, 2, "client certificate"},
		{"all as it should be", nil, 0, ""},
	} {
		variables := map[string]string{}
		for name, value := range right {
			variables[name] = value
		}
		for i := 0; i < len(row.but); i += 2 {
			variables[row.but[i]] = row.but[i+1]
		}
		got := promote(t, variables)
		if got.status != row.status || !strings.Contains(got.last, row.last) {
			t.Errorf("%s: status %d, want %d; last line %q, want %q", row.description, got.status, row.status, got.last, row.last)
		}
		if strings.Contains(got.log, "PRIVATE KEY") {
			t.Errorf("%s: the log shows a key: %s", row.description, got.log)
		}
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("the tag holds %q, want %q", now, s.digest)
	}
}

// TestProxiesOfTheEnvironment: one side is reached through the proxy that the environment names, with its account; the
// other, which NO_PROXY names, is not.
func TestProxiesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	const host, account = "registry.example", "user:the-proxys-secret"
	server := must(certificate.New(host))
	ca, _, err := server.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	behind := secured(t, s.source, server, nil)
	var mu sync.Mutex
	asked := map[string]int{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		asked[r.Method+" "+r.Host]++
		mu.Unlock()
		if r.Header.Get("Proxy-Authorization") != "Basic "+base64.StdEncoding.EncodeToString([]byte(account)) {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		through := must(net.Dial("tcp", behind))
		client, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		fmt.Fprint(client, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(through, client); _ = through.Close() }()
		go func() { _, _ = io.Copy(client, through); _ = client.Close() }()
	}))
	t.Cleanup(proxy.Close)
	at := strings.TrimPrefix(proxy.URL, "http://")
	with := func(pairs ...string) map[string]string {
		return s.with(append([]string{
			"SOURCE_REGISTRY", host, "SOURCE_REGISTRY_INSECURE", "false", "SOURCE_REGISTRY_CA_FILE", ca, "LOG_LEVEL", "debug",
		}, pairs...)...)
	}
	for _, row := range []struct {
		description string
		variables   map[string]string
		status      int
		last        string
	}{
		{"its account", with("HTTPS_PROXY", "http://"+account+"@"+at), 0, ""},
		{"in lower case, without a scheme", with("https_proxy", account+"@"+at), 0, ""},
		{"another account", with("HTTPS_PROXY", "http://user:another-secret@"+at), 5, "HTTPS_PROXY"},
		{"no proxy at all", with("HTTPS_PROXY", "http://user:another-secret@:x y"), 2, "HTTPS_PROXY is no address"},
	} {
		got := promote(t, row.variables)
		if got.status != row.status || !strings.Contains(got.last, row.last) || strings.Contains(got.log, "secret") {
			t.Errorf("%s: status %d, want %d: %s", row.description, got.status, row.status, got.log)
		}
	}
	if len(asked) != 1 || asked["CONNECT "+host+":443"] == 0 {
		t.Errorf("the proxy was asked %v", asked)
	}
}
