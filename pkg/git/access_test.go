package git_test

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	"dockline/e2e/gitserver"
	"dockline/pkg/git"
)

func TestCloneWithPassword(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for _, test := range []struct{ description, asked, given string }{
		{"a user name and a password", "release", "release"},
		{"a token alone", "oauth2", ""},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			const secret = "s3cr3t-of-the-release"
			server := serve(t, gitserver.Options{Root: h.root, Username: test.asked, Password: secret}, true)
			dir := t.TempDir()
			_, err := git.Clone(t.Context(), git.Options{
				URL: server.URL + "/team/hello.git", Dir: dir, CA: server.CA, KeepGitDir: true,
				Username: test.given, Password: secret,
			})
			if err != nil {
				t.Fatal(err)
			}
			if found := grep(t, dir, secret); found != "" {
				t.Errorf("the password is in %s", found)
			}
		})
	}
}

func TestCloneRedirectedElsewhereSendsNoPassword(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var seen []string
	var lock sync.Mutex
	note := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lock.Lock()
			seen = append(seen, r.Header.Get("Authorization"))
			lock.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	elsewhere := serve(t, gitserver.Options{Root: h.root}, false, note)
	redirect := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, elsewhere.URL+r.URL.RequestURI(), http.StatusFound)
	}))
	t.Cleanup(redirect.Close)

	dir := t.TempDir()
	_, err := git.Clone(t.Context(), git.Options{
		URL: redirect.URL + "/team/hello.git", Dir: dir, Username: "release", Password: "s3cr3t",
	})
	if err != nil {
		t.Fatal(err)
	}
	if page := read(t, dir, "page"); page != "two" {
		t.Errorf("page is %q, want that of the other host", page)
	}
	for _, header := range seen {
		if header != "" {
			t.Errorf("the other host was sent %q", header)
		}
	}
}
