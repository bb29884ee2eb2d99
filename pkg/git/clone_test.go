package git_test

import (
	"context"
	"errors"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-cmp/cmp"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
)

func TestCloneOneCommit(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	server := serve(t, gitserver.Options{Root: h.root}, false)

	for _, test := range []struct {
		description string
		revision    string
		want        git.Checkout
		page        string
	}{
		{"the default branch", "", git.Checkout{Commit: git.Commit{Hash: h.second, Subject: "Second"}, Branch: "main"}, "two"},
		{"a branch", "develop", git.Checkout{Commit: git.Commit{Hash: h.develop, Subject: "Develop"}, Branch: "develop"}, "develop"},
		{"a tag", "v1.0", git.Checkout{Commit: git.Commit{Hash: h.first, Subject: "First"}, Tag: "v1.0"}, "one"},
		{"an annotated tag", "v1.1", git.Checkout{Commit: git.Commit{Hash: h.second, Subject: "Second"}, Tag: "v1.1"}, "two"},
		{"a reference to a branch", "refs/heads/both", git.Checkout{Commit: git.Commit{Hash: h.ambiguous, Subject: "Both"}, Branch: "both"}, "both"},
		{"a reference to a tag", "refs/tags/both", git.Checkout{Commit: git.Commit{Hash: h.first, Subject: "First"}, Tag: "both"}, "one"},
		{"a merge request's reference", "refs/merge-requests/7/head", git.Checkout{Commit: git.Commit{Hash: h.develop, Subject: "Develop"}}, "develop"},
		{"the full hash of a branch's tip", h.develop, git.Checkout{Commit: git.Commit{Hash: h.develop, Subject: "Develop"}}, "develop"},
		{"the full hash of an older commit, which this server does not give by itself", h.first, git.Checkout{Commit: git.Commit{Hash: h.first, Subject: "First"}}, "one"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			got, err := git.Clone(t.Context(), git.Options{URL: server.URL + "/team/hello.git", Revision: test.revision, Dir: dir})
			if err != nil {
				t.Fatal(err)
			}
			if !got.Time.After(gitserver.Epoch.Add(-time.Second)) {
				t.Errorf("commit time is %s, want one from %s on", got.Time, gitserver.Epoch)
			}
			got.Time = time.Time{}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("checkout (-want +got):\n%s", diff)
			}
			if page := read(t, dir, "page"); page != test.page {
				t.Errorf("page is %q, want %q", page, test.page)
			}
			if _, err := os.Stat(filepath.Join(dir, ".git")); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf(".git is there: %v", err)
			}
		})
	}
}

func TestCloneOnlyWhatIsNeeded(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	allowHashes(t, h.path)
	server := serve(t, gitserver.Options{Root: h.root}, false)
	for _, test := range []struct{ description, revision, absent string }{
		{"a branch comes without its history", "main", h.first},
		{"a hash comes without the branches, where the server allows it", h.first, h.second},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			_, err := git.Clone(t.Context(), git.Options{
				URL: server.URL + "/team/hello.git", Revision: test.revision, Dir: dir, KeepGitDir: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			repo, err := gogit.PlainOpen(dir)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := repo.CommitObject(plumbing.NewHash(test.absent)); !errors.Is(err, plumbing.ErrObjectNotFound) {
				t.Errorf("commit %s was fetched too: %v", test.absent, err)
			}
		})
	}
}

func TestCloneKeepsModesAndLinks(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	dir := t.TempDir()
	if _, err := git.Clone(t.Context(), git.Options{URL: h.path, Dir: dir, AllowLocal: true}); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "bin", "run"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm()&0o111 == 0 {
		t.Errorf("bin/run has mode %s, want it executable", info.Mode())
	}
	if target, err := os.Readlink(filepath.Join(dir, "link")); err != nil || target != "/etc/passwd" {
		t.Errorf("link leads to %q (%v), want /etc/passwd as committed", target, err)
	}
}

func TestCloneFails(t *testing.T) {
	t.Parallel()
	const secret = "s3cr3t-of-the-release"
	h := newHistory(t)
	open := serve(t, gitserver.Options{Root: h.root}, false)
	closed := serve(t, gitserver.Options{Root: h.root, Username: "release", Password: secret}, true)
	broken := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "<html>"+secret+"</html>", http.StatusBadGateway)
	}))
	t.Cleanup(broken.Close)
	empty := filepath.Join(h.root, "empty.git")
	if _, err := gogit.PlainInit(empty, true); err != nil {
		t.Fatal(err)
	}
	gone := httptest.NewServer(nil)
	gone.Close()

	for _, test := range []struct {
		description string
		options     git.Options
		kind        fault.Kind
		text        string
	}{
		{"a branch that does not exist", git.Options{URL: open.URL + "/team/hello.git", Revision: "nope"}, fault.NotFound, `resolving "nope": the repository has no such branch or tag`},
		{"a reference that does not exist", git.Options{URL: open.URL + "/team/hello.git", Revision: "refs/heads/nope"}, fault.NotFound, "no such reference"},
		{"a hash that does not exist", git.Options{URL: open.URL + "/team/hello.git", Revision: strings.Repeat("ab", 20)}, fault.NotFound, "no such commit"},
		{"an abbreviated hash", git.Options{URL: open.URL + "/team/hello.git", Revision: h.first[:8]}, fault.NotFound, "no such branch or tag"},
		{"a name that is a branch and a tag", git.Options{URL: open.URL + "/team/hello.git", Revision: "both"}, fault.Configuration, "both a branch and a tag"},
		{"an expression", git.Options{URL: open.URL + "/team/hello.git", Revision: "main~1"}, fault.Configuration, "none of a branch"},
		{"an option as the revision", git.Options{URL: open.URL + "/team/hello.git", Revision: "--upload-pack=x"}, fault.Configuration, "none of a branch"},
		{"a repository that does not exist", git.Options{URL: open.URL + "/team/other.git"}, fault.NotFound, "no such repository"},
		{"an empty repository", git.Options{URL: open.URL + "/empty.git"}, fault.NotFound, "empty"},
		{"no password", git.Options{URL: closed.URL + "/team/hello.git", CA: closed.CA}, fault.Denied, "user name and a password"},
		{"a wrong password", git.Options{URL: closed.URL + "/team/hello.git", CA: closed.CA, Username: "release", Password: "wrong"}, fault.Denied, "user name and a password"},
		{"an unknown certificate", git.Options{URL: closed.URL + "/team/hello.git", Username: "release", Password: secret}, fault.Unavailable, "certificate"},
		{"a server that answers 502", git.Options{URL: broken.URL + "/team/hello.git"}, fault.Unavailable, "the server answers 502 Bad Gateway"},
		{"a server that is gone", git.Options{URL: gone.URL + "/team/hello.git"}, fault.Unavailable, "refused"},
		{"a local path where none is allowed", git.Options{URL: h.path}, fault.Configuration, "local repositories are not allowed"},
		{"a local path without a repository", git.Options{URL: h.root, AllowLocal: true}, fault.NotFound, "no such repository"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			test.options.Dir = t.TempDir()
			test.options.Pauses = []time.Duration{}
			_, err := git.Clone(t.Context(), test.options)
			if err == nil {
				t.Fatal("the clone succeeded")
			}
			if kind := fault.KindOf(err); kind != test.kind {
				t.Errorf("kind is %q, want %q: %v", kind, test.kind, err)
			}
			if !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), "\n") {
				t.Errorf("error is %q, want one line with %q", err, test.text)
			}
			if strings.Contains(err.Error(), secret) {
				t.Errorf("error shows a secret: %v", err)
			}
		})
	}
}

func TestCloneRetriesAServerError(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	var requests atomic.Int32
	flaky := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) <= 2 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	server := serve(t, gitserver.Options{Root: h.root}, false, flaky)
	_, err := git.Clone(t.Context(), git.Options{
		URL: server.URL + "/team/hello.git", Dir: t.TempDir(), Pauses: []time.Duration{0, 0},
	})
	if err != nil {
		t.Errorf("after two answers of 503: %v", err)
	}
}

// TestCloneListsOnce: the references that a server has listed are not asked for again, but by another attempt.
func TestCloneListsOnce(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	for name, row := range map[string]struct {
		refused int // fetches that fail
		listed  int32
	}{"at once": {0, 1}, "at the second attempt": {1, 2}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var listed, fetched atomic.Int32
			server := serve(t, gitserver.Options{Root: h.root, Username: "release", Password: "s3cr3t"}, true, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					_, _, known := r.BasicAuth()
					switch {
					case known && strings.HasSuffix(r.URL.Path, "/info/refs"):
						listed.Add(1)
					case known && int(fetched.Add(1)) <= row.refused:
						w.WriteHeader(http.StatusServiceUnavailable)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			got, err := git.Clone(t.Context(), git.Options{
				URL: server.URL + "/team/hello.git", Revision: "main", Dir: t.TempDir(), CA: server.CA,
				Username: "release", Password: "s3cr3t", Pauses: []time.Duration{time.Millisecond},
			})
			if err != nil || got.Hash != h.second || listed.Load() != row.listed {
				t.Errorf("got %s, %v; the references were listed %d times, not %d", got.Hash, err, listed.Load(), row.listed)
			}
		})
	}
}

func TestCloneStopsWhenCancelled(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		close(arrived)
		<-release
	}))
	t.Cleanup(func() { close(release); hanging.Close() })

	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	_, err := git.Clone(ctx, git.Options{URL: hanging.URL + "/x.git", Dir: t.TempDir()})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error is %v, want the cancellation", err)
	}
}

func TestCloneOfAHostileTreeStaysInside(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	for _, test := range []struct {
		description string
		files       gitserver.Files
	}{
		{"a file below a link that leaves", gitserver.Files{"a": gitserver.Link(outside), "a/planted": {Content: "x"}}},
		{"a path that climbs", gitserver.Files{"..": {Content: "x"}}},
		{"a .git of its own", gitserver.Files{".git/hooks/post-checkout": gitserver.Executable("#!/bin/sh\n")}},
		{"a .gitmodules that is a link", gitserver.Files{".gitmodules": gitserver.Link(outside)}},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			repo := filepath.Join(t.TempDir(), "x.git")
			commit(t, repo, "main", "Hostile", test.files)
			parent := t.TempDir()
			dir := filepath.Join(parent, "clone")
			_, err := git.Clone(t.Context(), git.Options{URL: repo, Dir: dir, AllowLocal: true, Submodules: true})
			t.Logf("clone says: %v", err)
			for _, place := range []string{outside, parent} {
				entries, err := os.ReadDir(place)
				if err != nil {
					t.Fatal(err)
				}
				for _, entry := range entries {
					if entry.Name() != "clone" {
						t.Errorf("the tree wrote %q outside of its directory", entry.Name())
					}
				}
			}
			if _, err := os.Stat(filepath.Join(dir, ".git", "hooks", "post-checkout")); err == nil {
				t.Error("the tree planted a hook")
			}
		})
	}
}

func TestCloneIntoAFullDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "mine"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := git.Clone(t.Context(), git.Options{URL: "/nowhere", Dir: dir, AllowLocal: true})
	if fault.KindOf(err) != fault.Configuration {
		t.Errorf("error is %v, want a refusal of the full directory", err)
	}
}

func TestHead(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	dir := t.TempDir()
	if _, err := git.Clone(t.Context(), git.Options{URL: h.path, Revision: "v1.0", Dir: dir, AllowLocal: true, KeepGitDir: true}); err != nil {
		t.Fatal(err)
	}
	got, err := git.Head(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := git.Commit{Hash: h.first, Subject: "First", Time: gitserver.Epoch}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("commit (-want +got):\n%s", diff)
	}
	if _, err := git.Head(t.TempDir()); fault.KindOf(err) != fault.NotFound {
		t.Errorf("outside of a work tree: %v", err)
	}
}

// Helpers.

func TestAPanicInsideGoGitIsAnError(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	server := serve(t, gitserver.Options{Root: h.root}, false)
	_, err := git.Clone(t.Context(), git.Options{URL: server.URL + "/team/hello.git", Dir: t.TempDir(), Progress: crashing{}})
	if fault.KindOf(err) != fault.Unexpected || fault.SideOf(err) != git.Side || !strings.Contains(err.Error(), "crashed: ") {
		t.Errorf("error is %v, want the crash", err)
	}
}

// crashing stands for what a hostile pack can do to go-git, which calls it in the same place.
type crashing struct{}

func (crashing) Write([]byte) (int, error) { panic("upset") }
