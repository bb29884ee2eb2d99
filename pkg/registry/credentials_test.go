package registry_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// document makes a docker configuration of pairs KEY, "USER:PASSWORD".
func document(origin string, pairs ...string) registry.AuthFile {
	auths := map[string]map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		auths[pairs[i]] = map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(pairs[i+1]))}
	}
	content, _ := json.Marshal(map[string]any{"auths": auths})
	return registry.AuthFile{Origin: origin, JSON: content}
}

func TestWhichCredentialsAreUsed(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	for _, user := range []string{"explicit", "first", "second", "path", "longer", "other"} {
		server.Login(user, user+"-password")
	}
	host := server.Host()
	auth := func(user string) string { return user + ":" + user + "-password" }
	for _, row := range []struct {
		description string
		config      registry.Config
		repository  string
		user        string // "" means that nobody is let in
	}{
		{"explicit before files", registry.Config{
			Username: "explicit", Password: "explicit-password", Auth: []registry.AuthFile{document("f", host, auth("first"))},
		}, "a/b", "explicit"},
		{"the first file that has any", registry.Config{Auth: []registry.AuthFile{
			document("f", "other.example.com", auth("other")), document("g", host, auth("first")), document("h", host, auth("second")),
		}}, "a/b", "first"},
		{"the longest path", registry.Config{Auth: []registry.AuthFile{
			document("f", host, auth("first"), host+"/a", auth("path"), host+"/a/b", auth("longer")),
		}}, "a/b/c", "longer"},
		{"a path covers whole parts", registry.Config{Auth: []registry.AuthFile{
			document("f", host, auth("first"), host+"/a/b", auth("longer")),
		}}, "a/bc", "first"},
		{"another path only, then the next file", registry.Config{Auth: []registry.AuthFile{
			document("f", host+"/x", auth("path")), document("g", host, auth("second")),
		}}, "a/b", "second"},
		{"a key as docker login writes it", registry.Config{Auth: []registry.AuthFile{document("f", "https://"+host+"/v1/", auth("first"))}},
			"a/b", "first"},
		{"none", registry.Config{}, "a/b", ""},
		{"another host's are not sent", registry.Config{Auth: []registry.AuthFile{document("f", "other.example.com", auth("other"))}},
			"a/b", ""},
		{"a wrong password", registry.Config{Username: "explicit", Password: "nonsense"}, "a/b", ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			config := row.config
			config.Address, config.Insecure, config.Side = host, true, "source registry"
			var user string
			server.Allow(func(who string, _ *http.Request) bool { user = who; return true })
			_, _, err := open(t, config).Repository(row.repository).Lookup(t.Context(), "1.0")
			if user != row.user || (row.user == "") != (fault.KindOf(err) == fault.Denied) {
				t.Errorf("let in as %q, error %v; want %q", user, err, row.user)
			}
			if err != nil && (strings.Contains(err.Error(), "nonsense") || strings.Contains(err.Error(), "other-password")) {
				t.Errorf("the error shows a password: %v", err)
			}
		})
	}
}

func TestConfigurationErrors(t *testing.T) {
	t.Parallel()
	helper := registry.AuthFile{Origin: "config.json", JSON: []byte(`{"credHelpers":{"r.example.com":"ecr-login"}}`)}
	store := registry.AuthFile{Origin: "config.json", JSON: []byte(`{"credsStore":"desktop","auths":{"r.example.com":{}}}`)}
	for _, row := range []struct {
		description string
		config      registry.Config
		text        string
	}{
		{"no address", registry.Config{}, "address is missing"},
		{"a scheme", registry.Config{Address: "https://r.example.com"}, "scheme"},
		{"an account", registry.Config{Address: "user@r.example.com"}, "HOST[:PORT]"},
		{"no host", registry.Config{Address: ":5000"}, "HOST[:PORT]"},
		{"a prefix that climbs", registry.Config{Address: "r.example.com/../x"}, "path"},
		{"a user without a password", registry.Config{Address: "r.example.com", Username: "u"}, "together"},
		{"a CA that is none", registry.Config{Address: "r.example.com", CA: []byte("nonsense")}, "PEM"},
		{"credentials that are no JSON", registry.Config{Address: "r.example.com", Auth: []registry.AuthFile{{Origin: "x.json", JSON: []byte("pass:word")}}}, "x.json"},
		{"a helper program", registry.Config{Address: "r.example.com", Auth: []registry.AuthFile{helper}}, "docker-credential-ecr-login"},
		{"a store program", registry.Config{Address: "r.example.com", Auth: []registry.AuthFile{store}}, "docker-credential-desktop"},
	} {
		_, err := registry.Open(row.config)
		if fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), row.text) || strings.Contains(err.Error(), "pass:word") {
			t.Errorf("%s: error %v of kind %v, want %q", row.description, err, fault.KindOf(err), row.text)
		}
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"r.example.com:443": "r.example.com/a/b:1", "R.Example.com": "r.example.com/a/b:1",
		"r.example.com:5000/team/": "r.example.com:5000/team/a/b:1", "docker.io": "index.docker.io/a/b:1",
	} {
		if got := open(t, registry.Config{Address: address}).Repository("a/b").Reference("1"); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// tokenService is a registry behind a token service, as GitLab's is: it accepts only tokens that hold the scope asked for.
type tokenService struct {
	registry, realm *httptest.Server

	mu     sync.Mutex
	seen   []string // Authorization headers that the registry got
	asked  []string // what the service was asked for: "USER scope,scope"
	valid  string   // the token that is accepted now
	issued int
}

func newTokenService(t *testing.T, next http.Handler) *tokenService {
	s := &tokenService{}
	s.realm = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if err := r.ParseForm(); err == nil && r.Form.Get("grant_type") == "refresh_token" {
			user, password = "identity", r.Form.Get("refresh_token")
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.asked = append(s.asked, user+" "+strings.Join(r.Form["scope"], ","))
		if password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		s.issued++
		s.valid = fmt.Sprintf("token-%d", s.issued)
		fmt.Fprintf(w, `{"token":%q,"expires_in":300}`, s.valid)
	}))
	s.registry = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		header := r.Header.Get("Authorization")
		s.seen = append(s.seen, header)
		valid := header == "Bearer "+s.valid && s.valid != "" || header == "Bearer registry-token"
		s.mu.Unlock()
		if !valid {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registry"`, s.realm.URL))
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(s.registry.Close)
	t.Cleanup(s.realm.Close)
	return s
}

func (s *tokenService) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.valid = ""
}

var notThere = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) })

func TestTokens(t *testing.T) {
	t.Parallel()
	auth := func(entry string) []registry.AuthFile {
		return []registry.AuthFile{{Origin: "file", JSON: []byte(`{"auths":{"HOST":` + entry + `}}`)}}
	}
	for _, row := range []struct {
		description string
		config      registry.Config
		asked       string
		kind        fault.Kind
	}{
		{"a password is exchanged", registry.Config{Username: "user", Password: "secret"}, "user repository:a/b:pull", 0},
		{"a password that the service refuses", registry.Config{Username: "user", Password: "wrong"}, "user repository:a/b:pull", fault.Denied},
		{"an identity token is exchanged", registry.Config{Auth: auth(`{"identitytoken":"secret"}`)}, "identity repository:a/b:pull", 0},
		{"a registry token is used as it is", registry.Config{Auth: auth(`{"registrytoken":"registry-token"}`)}, "", 0},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			service := newTokenService(t, notThere)
			config := row.config
			config.Address, config.Insecure = service.registry.Listener.Addr().String(), true
			for i, file := range config.Auth {
				config.Auth[i].JSON = []byte(strings.ReplaceAll(string(file.JSON), "HOST", config.Address))
			}
			repository := open(t, config).Repository("a/b")
			_, _, err := repository.Lookup(t.Context(), "1.0")
			if row.kind != 0 {
				if fault.KindOf(err) != row.kind {
					t.Errorf("error %v of kind %v, want %v", err, fault.KindOf(err), row.kind)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(service.asked, "; "); got != row.asked {
				t.Errorf("the service was asked %q, want %q", got, row.asked)
			}
			if row.asked == "" {
				return
			}
			service.expire()
			if _, _, err := repository.Lookup(t.Context(), "1.0"); err != nil || service.issued != 2 {
				t.Errorf("after the token had expired: %v, %d tokens issued", err, service.issued)
			}
			if slices.ContainsFunc(service.seen, func(header string) bool { return strings.HasPrefix(header, "Basic") }) {
				t.Errorf("the password was sent to the registry, which did not ask for it: %v", service.seen)
			}
		})
	}
}

func TestAPasswordIsNotSentInTheClear(t *testing.T) {
	t.Parallel()
	service := newTokenService(t, notThere)
	secure := faultyregistry.StartTLS(t)
	secure.Break("GET /manifests/", -1, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token",service="registry"`, service.realm.URL))
		w.WriteHeader(http.StatusUnauthorized)
	})
	for _, insecure := range []bool{false, true} {
		config := registry.Config{
			Address: secure.Host(), CA: secure.CA(), Insecure: insecure, Username: "user", Password: "secret",
		}
		_, _, err := open(t, config).Repository("a/b").Lookup(t.Context(), "1.0")
		if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "in the clear") || len(service.asked) > 0 {
			t.Errorf("insecure=%t: error %v, the token service was asked %v", insecure, err, service.asked)
		}
	}
}

func TestCredentialsStayWithTheirHost(t *testing.T) {
	t.Parallel()
	store := faultyregistry.Start(t)
	server := faultyregistry.Start(t)
	image := randomImage(t)
	push(t, plain(t, store).Repository("a/b"), "1.0", image)
	push(t, plain(t, server).Repository("a/b"), "1.0", image)
	server.Login("user", "secret")
	server.Break("GET /blobs/", -1, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://"+store.Host()+r.URL.Path, http.StatusTemporaryRedirect)
	})
	var mu sync.Mutex
	var leaked []string
	store.Before(func(r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if header := r.Header.Get("Authorization"); header != "" {
			leaked = append(leaked, header)
		}
	})
	store.Forget()
	repository := open(t, registry.Config{Address: server.Host(), Insecure: true, Username: "user", Password: "secret"}).Repository("a/b")
	manifest, err := repository.Resolve(t.Context(), "1.0")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := repository.Inspect(t.Context(), manifest); err != nil {
		t.Fatal(err)
	}
	if len(store.Requests()) == 0 || len(leaked) > 0 {
		t.Errorf("the store got %v, with %v; want a request without credentials", store.Requests(), leaked)
	}
}

// TestAStrangersChallengeIsNotAnswered: where a redirect or an upload's address leads to another host, that host may not
// say which token service the registry's password is taken to.
func TestAStrangersChallengeIsNotAnswered(t *testing.T) {
	t.Parallel()
	for _, request := range []string{"GET /blobs/", "POST /uploads/"} {
		t.Run(request, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var stranger, asked []string // what got there, with which Authorization
			realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				asked = append(asked, r.Header.Get("Authorization"))
				fmt.Fprint(w, `{"token":"stolen"}`)
			}))
			t.Cleanup(realm.Close)
			store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				mu.Lock()
				defer mu.Unlock()
				stranger = append(stranger, r.Header.Get("Authorization"))
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, realm.URL))
				w.WriteHeader(http.StatusUnauthorized)
			}))
			t.Cleanup(store.Close)
			server := faultyregistry.Start(t)
			image := randomImage(t)
			pushed := push(t, plain(t, server).Repository("a/b"), "1.0", image)
			server.Login("user", "secret")
			repository := open(t, registry.Config{Address: server.Host(), Insecure: true, Username: "user", Password: "secret"}).Repository("a/b")
			server.Break(request, -1, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				w.Header().Set("Location", store.URL+r.URL.Path)
				if r.Method == http.MethodGet {
					w.WriteHeader(http.StatusTemporaryRedirect)
				} else {
					w.WriteHeader(http.StatusAccepted)
				}
			})
			var err error
			if strings.HasPrefix(request, "GET") {
				_, err = repository.Inspect(t.Context(), pushed)
			} else {
				server.Break("HEAD /blobs/", -1, faultyregistry.Status(404, ""))
				_, err = registry.Copy(t.Context(), registry.FromImage(image), pushed.Digest, repository, nil)
			}
			server.Mend()
			_, _, again := repository.Lookup(t.Context(), "1.0")
			mu.Lock() // what was broken off may still be answered
			defer mu.Unlock()
			if err == nil || len(stranger) == 0 {
				t.Fatalf("error %v, the other host was asked %d times", err, len(stranger))
			}
			if len(asked) > 0 || strings.Join(stranger, "") != "" {
				t.Errorf("the other host got %q, and its token service %q", stranger, asked)
			}
			if again != nil {
				t.Errorf("afterwards: error %v", again)
			}
		})
	}
}
