package git_test

import (
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
)

func TestSubmodulesGetCredentialsOnTheirOwnHostOnly(t *testing.T) {
	t.Parallel()
	const user, secret = "release", "s3cr3t"
	root := t.TempDir()
	near := commit(t, filepath.Join(root, "team", "near.git"), "main", "Near", gitserver.Text(map[string]string{"near": "1"}))
	far := commit(t, filepath.Join(root, "team", "far.git"), "main", "Far", gitserver.Text(map[string]string{"far": "1"}))
	old := near
	near = commit(t, filepath.Join(root, "team", "near.git"), "main", "Newer", gitserver.Text(map[string]string{"near": "2"}))

	var sent []string
	var lock sync.Mutex
	elsewhere := serve(t, gitserver.Options{Root: root}, false, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			lock.Lock()
			sent = append(sent, r.Header.Get("Authorization"))
			lock.Unlock()
			next.ServeHTTP(w, r)
		})
	})
	nested := commit(t, filepath.Join(root, "team", "nested.git"), "main", "Nested", gitserver.Files{
		".gitmodules": modules("deep", "near", "../near.git"), "near": {Submodule: near},
	})
	commit(t, filepath.Join(root, "team", "hello.git"), "main", "With submodules", gitserver.Files{
		".gitmodules": {Content: modules("a", "lib/near", "../near.git").Content +
			modules("b", "far", elsewhere.URL+"/team/far.git").Content +
			modules("c", "nested", "../nested.git").Content +
			modules("d", "dropped", "../dropped.git").Content},
		"lib/near": {Submodule: old}, "far": {Submodule: far}, "nested": {Submodule: nested}, "page": {Content: "top"},
	})
	home := serve(t, gitserver.Options{Root: root, Username: user, Password: secret}, false)

	dir := t.TempDir()
	options := git.Options{URL: home.URL + "/team/hello.git", Dir: dir, Username: user, Password: secret, Submodules: true}
	got, err := git.Clone(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	want := []git.Submodule{
		{Path: "far", URL: elsewhere.URL + "/team/far.git", Hash: far},
		{Path: "lib/near", URL: home.URL + "/team/near.git", Hash: old, Authenticated: true},
		{Path: "nested", URL: home.URL + "/team/nested.git", Hash: nested, Authenticated: true},
		{Path: "nested/near", URL: home.URL + "/team/near.git", Hash: near, Authenticated: true},
	}
	if diff := cmp.Diff(want, got.Submodules); diff != "" {
		t.Errorf("submodules (-want +got):\n%s", diff)
	}
	if text := read(t, dir, "lib", "near", "near"); text != "1" {
		t.Errorf("lib/near is at %q, want the commit that the tree names", text)
	}
	if text := read(t, dir, "nested", "near", "near"); text != "2" {
		t.Errorf("nested/near is at %q", text)
	}
	if len(sent) == 0 {
		t.Error("the other host was never asked")
	}
	for _, header := range sent {
		if header != "" {
			t.Errorf("the other host was sent %q", header)
		}
	}

	options.Dir, options.Submodules = t.TempDir(), false
	if got, err = git.Clone(t.Context(), options); err != nil || len(got.Submodules) > 0 {
		t.Errorf("without submodules: %v, %v", got.Submodules, err)
	}
}

func TestSubmodulesRefused(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	lib := commit(t, filepath.Join(root, "lib.git"), "main", "Lib", gitserver.Text(map[string]string{"x": "1"}))
	server := serve(t, gitserver.Options{Root: root}, false)
	for _, test := range []struct {
		description, name, path, url, refused string
	}{
		{"a local path", "a", "lib", filepath.Join(root, "lib.git"), "not allowed"},
		{"a file URL", "b", "lib", "file://" + filepath.Join(root, "lib.git"), "not allowed"},
		{"an option", "c", "lib", "--upload-pack=x", ""},
		{"a program", "d", "lib", "ext::sh", "remote helpers"},
		{"ssh without a key for that host", "e", "lib", "git@elsewhere.invalid:lib.git", "ssh key"},
		{"a password in .gitmodules", "f", "lib", "https://u:s3cr3t@elsewhere.invalid/lib.git", "credentials"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			repo := filepath.Join(root, test.name+".git")
			commit(t, repo, "main", "Hostile", gitserver.Files{
				".gitmodules": modules("m", test.path, test.url), test.path: {Submodule: lib},
			})
			_, err := git.Clone(t.Context(), git.Options{
				URL: server.URL + "/" + test.name + ".git", Dir: t.TempDir(), Submodules: true,
			})
			if err == nil || !strings.Contains(err.Error(), test.refused) || strings.Contains(err.Error(), "s3cr3t") {
				t.Errorf("error is %v, want a refusal with %q", err, test.refused)
			}
			if kind := fault.KindOf(err); kind != fault.Configuration && kind != fault.Denied {
				t.Errorf("kind is %q: %v", kind, err)
			}
		})
	}
}

func TestSubmoduleOfItselfEnds(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	repo := filepath.Join(root, "self.git")
	// A commit cannot name itself, but a chain of them can name each its forerunner.
	hash := commit(t, repo, "main", "0", gitserver.Text(map[string]string{"x": "0"}))
	for range 12 {
		hash = commit(t, repo, "main", "more", gitserver.Files{
			".gitmodules": modules("m", "sub", "../self.git"), "sub": {Submodule: hash},
		})
	}
	_, err := git.Clone(t.Context(), git.Options{URL: repo, Dir: t.TempDir(), AllowLocal: true, Submodules: true})
	if err == nil || !strings.Contains(err.Error(), "nest deeper than 10") {
		t.Errorf("error is %v, want the limit", err)
	}
}

func modules(name, path, url string) gitserver.File {
	return gitserver.File{Content: fmt.Sprintf("[submodule %q]\n\tpath = %s\n\turl = %s\n", name, path, url)}
}
