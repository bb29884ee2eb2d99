package promote

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"dockline/e2e/faultyregistry"
)

// TestRefusalsAreNoBug: what a registry, or what stands before it, does not take ends in a status that says so, and in
// a hint that helps.
func TestRefusalsAreNoBug(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description, request string // of the target
		fault                faultyregistry.Fault
		status               int
		last                 string
	}{
		{"a layer is larger than a proxy lets through", "PUT /uploads/", faultyregistry.Page(413), 3, "client_max_body_size"},
		{"a manifest is larger than a proxy lets through", "PUT /manifests/", faultyregistry.Page(413), 3, "client_max_body_size"},
		{"the registry is read-only", "POST /uploads/", faultyregistry.Status(405, "UNSUPPORTED"), 3, "read-only"},
		{"the name is not one", "GET /manifests/1.0", faultyregistry.Status(400, "NAME_INVALID"), 3, "NAME_INVALID"},
		{"the tag may not be written, ECR", "PUT /manifests/1.0", faultyregistry.Status(400, "TAG_INVALID"), 3, "immutable"},
		{"the tag may not be written, Harbor", "PUT /manifests/1.0", faultyregistry.Status(412, "PRECONDITION"), 3, "immutable"},
		{"the tag is in conflict", "PUT /manifests/1.0", faultyregistry.Status(409, ""), 3, "immutable"},
		{"there is no such project, for a layer", "POST /uploads/", faultyregistry.Status(404, "NAME_UNKNOWN"), 4, "create the project or the repository"},
		{"there is no such project, for a manifest", "PUT /manifests/", faultyregistry.Status(404, "NAME_UNKNOWN"), 4, "create the project or the repository"},
		{"the token service redirects", "GET /manifests/1.0", behindTokens(t, http.RedirectHandler("https://sso.example.com/", http.StatusFound)), 6, "token service"},
		{"the token service knows no such service", "GET /manifests/1.0", behindTokens(t, statusOnly(400)), 5, "TARGET_REGISTRY_PASSWORD"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.target.Break(row.request, -1, row.fault)
			got := promote(t, s.with())
			if got.status != row.status || !strings.Contains(got.last, row.last) || strings.Contains(got.last, "bug") {
				t.Errorf("status %d, last line %q; want %d and %q", got.status, got.last, row.status, row.last)
			}
			if !strings.Contains(got.last, "target registry: ") || !strings.Contains(got.last, ". Hint: ") || len(got.results) > 0 {
				t.Errorf("no side or no hint in %q, or results: %v", got.last, got.results)
			}
			if now := holds(t, s.target, hello+":1.0"); now != "" {
				t.Errorf("the tag holds %q", now)
			}
		})
	}
}

// behindTokens asks for a token of a service that answers by the handler.
func behindTokens(t *testing.T, service http.Handler) faultyregistry.Fault {
	t.Helper()
	realm := httptest.NewServer(service)
	t.Cleanup(realm.Close)
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, realm.URL))
		w.WriteHeader(http.StatusUnauthorized)
	}
}

func statusOnly(status int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
}

// TestATokenOfATokenServiceIsMasked: a registry may repeat the token that it was sent, in whatever form, and more of it
// than is shown of its words.
func TestATokenOfATokenServiceIsMasked(t *testing.T) {
	t.Parallel()
	const part = "a-bearer-token-"
	for _, row := range []struct {
		description, token string
		answer             func(authorization string) string
	}{
		{"its own", part, func(authorization string) string { return "no right for " + authorization }},
		{"encoded", part, func(authorization string) string {
			return "no right for " + base64.StdEncoding.EncodeToString([]byte(strings.TrimPrefix(authorization, "Bearer ")))
		}},
		{"a long one, of which a part is shown", strings.Repeat(part, 40), func(authorization string) string { return "no right for " + authorization }},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			var issued atomic.Int32
			realm := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"token":"%s%d"}`, row.token, issued.Add(1))
			}))
			t.Cleanup(realm.Close)
			s.target.Break("GET /manifests/1.0", -1, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
				w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="%s/token"`, realm.URL))
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusUnauthorized)
				fmt.Fprint(w, row.answer(r.Header.Get("Authorization")))
			})
			got := promote(t, s.with("LOG_LEVEL", "debug"))
			encoded := base64.RawStdEncoding.EncodeToString([]byte(part))
			if got.status != 5 || strings.Contains(got.log, part) || strings.Contains(got.log, encoded) || !strings.Contains(got.last, "no right for ") {
				t.Errorf("status %d:\n%s", got.status, got.log)
			}
		})
	}
}
