package buildcontext_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dockline/pkg/buildcontext"
	"dockline/pkg/fault"
)

// tree makes a context of these files; a name that ends in "/" is a directory.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a test's
			t.Fatal(err)
		}
		if name[len(name)-1] == '/' {
			if err := os.MkdirAll(path, 0o755); err != nil { //nolint:gosec // a test's
				t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil { //nolint:gosec // a test's
			t.Fatal(err)
		}
	}
	return dir
}

func digest(t *testing.T, dir, ignore string) string {
	t.Helper()
	sum, err := buildcontext.Digest(t.Context(), dir, []byte(ignore), "**/.git")
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

func TestDigest(t *testing.T) {
	t.Parallel()
	files := map[string]string{"page": "one", "app/main.go": "package main", "docs/a.md": "a", ".git/index": "1"}
	for _, test := range []struct {
		description, ignore string
		change              func(dir string) error
		same                bool
	}{
		{"nothing", "", func(string) error { return nil }, true},
		{"a time", "", func(dir string) error { return os.Chtimes(filepath.Join(dir, "page"), time.Time{}, time.Unix(1, 0)) }, true},
		{"what Git keeps for itself", "", func(dir string) error { return os.WriteFile(filepath.Join(dir, ".git/index"), []byte("2"), 0o600) }, true},
		{"a file that is ignored", "docs", func(dir string) error { return os.WriteFile(filepath.Join(dir, "docs/a.md"), []byte("b"), 0o600) }, true},
		{"a file that is ignored, where another is not", "docs\n!docs/b.md", func(dir string) error { return os.Remove(filepath.Join(dir, "docs/a.md")) }, true},
		{"a file that is ignored but for an exception", "docs\n!docs/a.md", func(dir string) error { return os.WriteFile(filepath.Join(dir, "docs/a.md"), []byte("b"), 0o600) }, false},
		{"a content", "", func(dir string) error { return os.WriteFile(filepath.Join(dir, "page"), []byte("two"), 0o600) }, false},
		{"a name", "", func(dir string) error { return os.Rename(filepath.Join(dir, "page"), filepath.Join(dir, "pages")) }, false},
		{"a permission", "", func(dir string) error { return os.Chmod(filepath.Join(dir, "page"), 0o755) }, false},
		{"a directory's permission", "", func(dir string) error { return os.Chmod(filepath.Join(dir, "app"), 0o700) }, false},
		{"an empty directory", "", func(dir string) error { return os.Mkdir(filepath.Join(dir, "empty"), 0o755) }, false},
		{"a file that becomes a link to the same", "", func(dir string) error {
			return errors.Join(os.Rename(filepath.Join(dir, "page"), filepath.Join(dir, ".git/page")),
				os.Symlink(".git/page", filepath.Join(dir, "page")))
		}, false},
		{"a pipe", "", func(dir string) error { return unix.Mkfifo(filepath.Join(dir, "pipe"), 0o644) }, false},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := tree(t, files)
			before := digest(t, dir, test.ignore)
			if other := digest(t, tree(t, files), test.ignore); other != before {
				t.Errorf("two equal contexts have the digests %s and %s", before, other)
			}
			if err := test.change(dir); err != nil {
				t.Fatal(err)
			}
			if after := digest(t, dir, test.ignore); (after == before) != test.same {
				t.Errorf("it was %s, and is %s", before, after)
			}
		})
	}
}

// TestDigestKeepsWordsApart: where a name ends and a content begins cannot be moved.
func TestDigestKeepsWordsApart(t *testing.T) {
	t.Parallel()
	if digest(t, tree(t, map[string]string{"a": "b"}), "") == digest(t, tree(t, map[string]string{"ab": ""}), "") {
		t.Error("two contexts have one digest")
	}
}

func TestDigestOfALink(t *testing.T) {
	t.Parallel()
	dir := tree(t, nil)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/etc/passwd", link); err != nil {
		t.Fatal(err)
	}
	before := digest(t, dir, "")
	if err := errors.Join(os.Remove(link), os.Symlink("/etc/shadow", link)); err != nil {
		t.Fatal(err)
	}
	if digest(t, dir, "") == before {
		t.Error("another target gives the same digest")
	}
}

func TestDigestFails(t *testing.T) {
	t.Parallel()
	if _, err := buildcontext.Digest(t.Context(), filepath.Join(t.TempDir(), "none"), nil); err == nil {
		t.Error("a context that is not there has a digest")
	}
	if _, err := buildcontext.Digest(t.Context(), t.TempDir(), []byte("[")); fault.KindOf(err) != fault.BuildFailed {
		t.Errorf("a malformed .dockerignore: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := buildcontext.Digest(ended, t.TempDir(), nil); !errors.Is(err, context.Canceled) {
		t.Errorf("after the end: %v", err)
	}
}
