package cluster_test

import (
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

var (
	impatient = cluster.Patience{
		Attempts: 3, First: time.Millisecond, Longest: 2 * time.Millisecond, LongestAsked: 2 * time.Second, Silence: 2 * time.Second, Poll: time.Millisecond,
	}
	things = cluster.Resource{Group: "example.com", Version: "v1", Plural: "things", Kind: "Thing"}
)

func status(code int, reason, message string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":%q,"code":%d}`, reason, message, code)
	}
}

func connect(t *testing.T, config cluster.Config) *cluster.Cluster {
	t.Helper()
	config.Patience = impatient
	c, err := cluster.Connect(config)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestAnswersHaveKinds(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		kind   fault.Kind
		says   string
		calls  int32
	}{
		{"bad token", status(401, "Unauthorized", "Unauthorized"), fault.Denied, "Unauthorized", 1},
		{"no right", status(403, "Forbidden", `things "x" is forbidden`), fault.Denied, `things "x" is forbidden`, 1},
		{"absent", status(404, "NotFound", `things "x" not found`), fault.NotFound, "not found", 1},
		{"changed meanwhile", status(409, "Conflict", "another caller"), fault.Refused, "another caller", 1},
		{"invalid", status(422, "Invalid", "bad field"), fault.Configuration, "bad field", 1},
		{"broken", status(500, "InternalError", "etcd is away"), fault.Unavailable, "etcd is away", 3},
		{"overloaded", status(429, "TooManyRequests", "slow down"), fault.Unavailable, "slow down", 3},
		{"a page of something else", func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			_, _ = w.Write([]byte("<html>Bad Gateway</html>"))
		}, fault.Unavailable, "", 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") == "Bearer t" { // and no caller of another test, whose port it was
					calls.Add(1)
				}
				row.answer(w, r)
			}))
			defer server.Close()
			c := connect(t, cluster.Config{Server: server.URL, Token: "t"})
			_, err := c.Get(t.Context(), things, "dev", "x")
			if fault.KindOf(err) != row.kind || fault.SideOf(err) != cluster.Side || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v (%s, %s)", err, fault.KindOf(err), fault.SideOf(err))
			}
			if calls.Load() != row.calls {
				t.Errorf("%d calls, want %d", calls.Load(), row.calls)
			}
			if errors.Is(err, cluster.ErrConflict) != (row.kind == fault.Refused) {
				t.Errorf("conflict: %v", err)
			}
		})
	}
}

func TestConnections(t *testing.T) {
	t.Parallel()
	var token atomic.Value
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		token.Store(r.Header.Get("Authorization"))
		status(404, "NotFound", "no")(w, r)
	})
	secure, gone := httptest.NewTLSServer(answer), httptest.NewServer(answer)
	t.Cleanup(secure.Close)
	gone.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw})
	plain := httptest.NewServer(answer)
	t.Cleanup(plain.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf(`{"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],"users":[{"name":"u","user":{"token":"t"}}],
		"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`, secure.URL, base64.StdEncoding.EncodeToString(ca))
	if err := os.WriteFile(kubeconfig, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name   string
		config cluster.Config
		kind   fault.Kind
		says   string
	}{
		{"https with its CA", cluster.Config{Server: secure.URL, Token: "t", CA: ca}, fault.NotFound, ""},
		{"https without it", cluster.Config{Server: secure.URL, Token: "t"}, fault.Unavailable, "certificate"},
		{"https spoken to http", cluster.Config{Server: "https" + strings.TrimPrefix(plain.URL, "http"), Token: "t"},
			fault.Unavailable, "HTTP response to HTTPS client"},
		{"nobody listens", cluster.Config{Server: gone.URL, Token: "t"}, fault.Unavailable, "connection refused"},
		{"kubeconfig", cluster.Config{Kubeconfig: kubeconfig}, fault.NotFound, ""},
	} {
		_, err := connect(t, row.config).Get(t.Context(), things, "dev", "x")
		if fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v (%s)", row.name, err, fault.KindOf(err))
		}
		if row.kind == fault.NotFound && token.Load() != "Bearer t" {
			t.Errorf("%s: the token was sent as %v", row.name, token.Load())
		}
	}
	if _, err := cluster.Connect(cluster.Config{Server: "http://api.example.com"}); err != nil {
		t.Errorf("plain http without a token: %v", err)
	}
	for name, config := range map[string]cluster.Config{
		"a token by plain http": {Server: "http://api.example.com:8080", Token: "t"},
		"both":                  {Kubeconfig: kubeconfig, Server: plain.URL},
		"no kubeconfig there":   {Kubeconfig: kubeconfig + ".missing"},
		"a host, no address":    {Server: "api.example.com:6443"},
		"nothing, and no pod":   {},
		"a CA that is none":     {Server: "https://x.test", CA: []byte("x")},
		"a folder for the file": {Kubeconfig: filepath.Dir(kubeconfig)},
	} {
		if _, err := cluster.Connect(config); fault.KindOf(err) != fault.Configuration {
			t.Errorf("%s: %v (%s)", name, err, fault.KindOf(err))
		}
	}
}

// TestRedirectsDoNotCarryTheToken has an API that sends its callers elsewhere, as a log-in page in front of it does.
func TestRedirectsDoNotCarryTheToken(t *testing.T) {
	t.Parallel()
	var heard atomic.Value // what the other host was sent
	heard.Store("")
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		heard.Store(r.Method + " " + r.URL.Path + " " + r.Header.Get("Authorization"))
	}))
	t.Cleanup(other.Close)
	var calls atomic.Int32
	var status int
	var to string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if strings.HasPrefix(r.URL.Path, "/here/") {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "x"}})
			return
		}
		http.Redirect(w, r, to, status)
	}))
	t.Cleanup(server.Close)
	object := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "example.com/v1", "kind": "Thing", "metadata": map[string]any{"name": "x"}}}
	for _, row := range []struct {
		name   string
		status int
		to     string
		write  bool
		kind   fault.Kind // 0: it is followed
		says   string
	}{
		{"to another host", 302, other.URL + "/login?state=x", false, fault.Unavailable, "it redirects to " + other.URL + ","},
		{"a write to another host", 307, other.URL + "/login", true, fault.Unavailable, "it redirects to " + other.URL},
		{"to another scheme", 302, "https" + strings.TrimPrefix(server.URL, "http"), false, fault.Unavailable, "it redirects to https://"},
		{"a write that would become a read", 302, "/here/login", true, fault.Unavailable, "it redirects to " + server.URL},
		{"round and round", 302, "/apis/again", false, fault.Unavailable, "it redirects to"},
		{"within the API", 302, "/here/x", false, 0, ""},
	} {
		status, to = row.status, row.to
		calls.Store(0)
		c := connect(t, cluster.Config{Server: server.URL, Token: "t0ken"})
		_, err := c.Get(t.Context(), things, "dev", "x")
		if row.write {
			calls.Store(0)
			_, err = c.Update(t.Context(), things, "dev", object)
		}
		switch {
		case row.kind == 0 && err != nil:
			t.Errorf("%s: %v", row.name, err)
		case row.kind != 0 && (fault.KindOf(err) != row.kind || fault.SideOf(err) != cluster.Side || !strings.Contains(err.Error(), row.says)):
			t.Errorf("%s: %v (%s)", row.name, err, fault.KindOf(err))
		}
		if err != nil && strings.Contains(err.Error(), "state=") {
			t.Errorf("%s: the address is told with its query: %v", row.name, err)
		}
		if row.kind != 0 && row.name != "round and round" && calls.Load() != 1 {
			t.Errorf("%s: %d calls, and another one cannot help", row.name, calls.Load())
		}
	}
	if heard.Load() != "" {
		t.Errorf("the other host was sent %q", heard.Load())
	}
}

// TestSecretsAreTold has a token, a password, a client's key, and a plugin that brings a token forth and talks.
func TestSecretsAreTold(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(status(404, "NotFound", "no"))
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o700); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plugin := write("plugin", `#!/bin/sh
echo "renewing the token" >&2
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-the-plugin"}}'
`)
	for _, row := range []struct{ name, user, secret, says string }{
		{"a token", `{"token":"a-token"}`, "a-token", ""},
		{"a token in a file", fmt.Sprintf(`{"tokenFile":%q}`, write("token", "a-token-in-a-file")), "a-token-in-a-file", ""},
		{"a password", `{"username":"me","password":"a-password"}`, "a-password", ""},
		{"a plugin", fmt.Sprintf(`{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":%q,"interactiveMode":"Never"}}`, plugin),
			"from-the-plugin", "renewing the token"},
	} {
		t.Run(row.name, func(t *testing.T) {
			kubeconfig := write(row.name, fmt.Sprintf(`{"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],"users":[{"name":"u","user":%s}],
				"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`, server.URL, ca, row.user))
			var told []string
			said := make(chan string, 10)
			c := connect(t, cluster.Config{Kubeconfig: kubeconfig,
				Secret: func(secrets ...string) { told = append(told, secrets...) }, Warn: func(text string) { said <- text }})
			if _, err := c.Get(t.Context(), things, "dev", "x"); fault.KindOf(err) != fault.NotFound {
				t.Fatal(err)
			}
			if !slices.Contains(told, row.secret) {
				t.Errorf("told of %q", told)
			}
			if row.says == "" {
				return
			}
			select {
			case text := <-said:
				if !strings.Contains(text, row.says) {
					t.Errorf("it said %q", text)
				}
			case <-time.After(10 * time.Second):
				t.Error("what the plugin says is not handed on")
			}
		})
	}
}

// TestItsOwnPatienceIsTheOnlyOne has an API that asks for pauses, or drops connections, which client-go would obey and
// repeat by itself, and counts the calls that arrive and the pauses that are told.
func TestItsOwnPatienceIsTheOnlyOne(t *testing.T) {
	t.Parallel()
	busy := func(after string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", after)
			status(429, "TooManyRequests", "slow down")(w, r)
		}
	}
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		calls  int32
		wait   time.Duration // the longest that is told
		says   string
	}{
		{"an hour is too long", busy("3600"), 1, 0, "it asks to wait for 1h0m0s"},
		{"an hour in the answer's body", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(429)
			_, _ = w.Write([]byte(`{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"TooManyRequests","message":"slow down","code":429,"details":{"retryAfterSeconds":3600}}`))
		}, 1, 0, "it asks to wait for 1h0m0s"},
		{"a second is waited for", busy("1"), 3, time.Second, "slow down"},
		{"no wish", busy("0"), 3, 2 * time.Millisecond, "slow down"},
		{"the connection breaks off", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			3, 2 * time.Millisecond, "broke off"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var calls atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				calls.Add(1)
				row.answer(w, r)
			}))
			t.Cleanup(server.Close)
			var told []cluster.Retry
			c := connect(t, cluster.Config{Server: server.URL, Token: "t", Retrying: func(r cluster.Retry) { told = append(told, r) }})
			_, err := c.Get(t.Context(), things, "dev", "x")
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), row.says) {
				t.Errorf("%v (%s)", err, fault.KindOf(err))
			}
			if calls.Load() != row.calls || len(told) != int(row.calls)-1 {
				t.Errorf("%d calls (want %d), told of %+v", calls.Load(), row.calls, told)
			}
			for i, again := range told {
				if again.Attempt != i+2 || again.Of != 3 || again.Wait > row.wait || again.Err == nil {
					t.Errorf("told of %+v", again)
				}
			}
		})
	}
}
