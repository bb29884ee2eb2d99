package registry_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"dockline/pkg/registry"
)

// TestASecretThatAServerRepeatsIsNotCut: its beginning would not be known for a secret where the last line is masked.
func TestASecretThatAServerRepeatsIsNotCut(t *testing.T) {
	t.Parallel()
	secret := strings.Repeat(`p+s/s w"ö<`, 12) // of 132 bytes
	refresh := `{"auths":{"HOST":{"identitytoken":"` + strings.ReplaceAll(secret, `"`, `\"`) + `"}}}`
	for description, body := range map[string]string{
		"in a message":        `{"errors":[{"code":"DENIED","message":"PADDING"}]}`,
		"in a code":           `{"errors":[{"code":"PADDING","message":"no"}]}`,
		"in other JSON":       `{"error":"PADDING"}`,
		"in plain text":       "PADDING",
		"escaped, in a query": "grant_type=refresh_token&refresh_token=PADDING",
	} {
		for _, before := range []int{0, 20, 50, 170, 190, 270, 290} {
			for _, given := range []string{"password", "refresh token"} {
				server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.HasPrefix(r.URL.Path, "/v2/") && given == "refresh token" {
						w.Header().Set("WWW-Authenticate", `Bearer realm="http://`+r.Host+`/token"`)
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					said := secret
					switch {
					case strings.HasPrefix(description, "escaped"):
						said = url.QueryEscape(secret)
					case strings.HasPrefix(body, "{"):
						said = strings.ReplaceAll(secret, `"`, `\"`)
					}
					w.Header().Set("Content-Type", map[bool]string{true: "application/json", false: "text/plain"}[body[0] == '{'])
					w.WriteHeader(http.StatusForbidden)
					fmt.Fprint(w, strings.Replace(body, "PADDING", strings.Repeat("x", before)+said, 1))
				}))
				host := strings.TrimPrefix(server.URL, "http://")
				config := registry.Config{Address: host, Insecure: true, Username: "u", Password: secret}
				if given == "refresh token" {
					config.Username, config.Password = "", ""
					config.Auth = []registry.AuthFile{{Origin: "a file", JSON: []byte(strings.Replace(refresh, "HOST", host, 1))}}
				}
				_, _, err := open(t, config).Repository("a/b").Lookup(t.Context(), "1.0")
				server.Close()
				if err == nil || strings.Contains(err.Error(), secret[:8]) || strings.Contains(err.Error(), url.QueryEscape(secret[:6])) {
					t.Errorf("%s of a %s, after %d: %v", description, given, before, err)
				}
			}
		}
	}
}

// TestAnAccountThatAServerRepeatsIsNotCut in base64, before the registry has asked for it.
func TestAnAccountThatAServerRepeatsIsNotCut(t *testing.T) {
	t.Parallel()
	password := strings.Repeat("secret", 30)
	encoded := base64.StdEncoding.EncodeToString([]byte("u:" + password))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprintf(w, `{"errors":[{"code":"DENIED","message":"%s%s"}]}`, strings.Repeat("x", 200), encoded)
	}))
	t.Cleanup(server.Close)
	_, _, err := open(t, registry.Config{
		Address: strings.TrimPrefix(server.URL, "http://"), Insecure: true, Username: "u", Password: password,
	}).Repository("a/b").Lookup(t.Context(), "1.0")
	if err == nil || strings.Contains(err.Error(), encoded[:8]) {
		t.Error(err)
	}
}
