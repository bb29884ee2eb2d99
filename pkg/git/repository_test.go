package git_test

import (
	"bytes"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"dockline/e2e/gitserver"
)

// history is a repository with two commits on main, one on develop, and tags.
type history struct {
	root, path             string
	first, second, develop string
	ambiguous              string
}

func newHistory(t *testing.T) history {
	t.Helper()
	root := t.TempDir()
	h := history{root: root, path: filepath.Join(root, "team", "hello.git")}
	h.first = commit(t, h.path, "main", "First\n\nbody", gitserver.Text(map[string]string{"page": "one"}))
	h.second = commit(t, h.path, "main", "Second", gitserver.Files{
		"page": {Content: "two"}, "bin/run": gitserver.Executable("#!/bin/sh\n"), "link": gitserver.Link("/etc/passwd"),
	})
	h.develop = commit(t, h.path, "develop", "Develop", gitserver.Text(map[string]string{"page": "develop"}))
	h.ambiguous = commit(t, h.path, "both", "Both", gitserver.Text(map[string]string{"page": "both"}))
	tag(t, h.path, "v1.0", h.first, "")
	tag(t, h.path, "v1.1", h.second, "Release 1.1")
	tag(t, h.path, "both", h.first, "")
	setReference(t, h.path, "refs/merge-requests/7/head", h.develop)
	return h
}

func serve(t *testing.T, o gitserver.Options, tls bool, wrap ...func(http.Handler) http.Handler) *gitserver.Server {
	t.Helper()
	server, err := gitserver.Start(o, tls, wrap...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

func commit(t *testing.T, repo, branch, message string, files gitserver.Files) string {
	t.Helper()
	hash, err := gitserver.Commit(repo, branch, message, files)
	if err != nil {
		t.Fatal(err)
	}
	return hash
}

func tag(t *testing.T, repo, name, commit, message string) {
	t.Helper()
	if err := gitserver.Tag(repo, name, commit, message); err != nil {
		t.Fatal(err)
	}
}

func setReference(t *testing.T, path, name, hash string) {
	t.Helper()
	repo, err := gogit.PlainOpen(path)
	if err != nil {
		t.Fatal(err)
	}
	ref := plumbing.NewHashReference(plumbing.ReferenceName(name), plumbing.NewHash(hash))
	if err := repo.Storer.SetReference(ref); err != nil {
		t.Fatal(err)
	}
}

// allowHashes lets a server's clients ask for a commit by its hash, as GitLab and GitHub do.
func allowHashes(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(filepath.Join(path, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString("[uploadpack]\n\tallowReachableSHA1InWant = true\n"); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, parts ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(parts...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// grep returns the first file below dir that holds text.
func grep(t *testing.T, dir, text string) string {
	t.Helper()
	var found string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if bytes.Contains(content, []byte(text)) {
			found = path
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
