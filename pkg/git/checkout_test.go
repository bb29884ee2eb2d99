package git_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/gitserver"
	"dockline/pkg/git"
)

// TestTheWorkTreeIsGits has every kind of entry, and a file that is read piece by piece, and compares with git's own clone.
func TestTheWorkTreeIsGits(t *testing.T) {
	t.Parallel()
	repo := filepath.Join(t.TempDir(), "x.git")
	large := strings.Repeat("0123456789abcdef", 200_000)
	commit(t, repo, "main", "All kinds", gitserver.Files{
		"plain": {Content: "x"}, "empty": {}, "program": gitserver.Executable("#!/bin/sh\n"), "large": {Content: large},
		"a/b/c": {Content: "deep"}, "a/link": gitserver.Link("../plain"), "out": gitserver.Link("/etc/passwd"),
		"sub": {Submodule: strings.Repeat("1", 40)}, ".gitignore": {Content: "*\n"}, "Git/x": {Content: "y"},
		"spaces and ümlauts\n": {Content: "z"},
	})
	ours, theirs := filepath.Join(t.TempDir(), "clone"), filepath.Join(t.TempDir(), "clone")
	if _, err := git.Clone(t.Context(), git.Options{URL: repo, Revision: "main", Dir: ours, AllowLocal: true}); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("git", "-c", "advice.detachedHead=false", "clone", "--quiet", "--branch", "main", repo, theirs)
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if err := os.RemoveAll(filepath.Join(theirs, ".git")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(listed(t, theirs), listed(t, ours)); diff != "" {
		t.Errorf("the work tree (-git's +ours):\n%s", diff)
	}
}

// listed tells of everything below a folder.
func listed(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		content := ""
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			content, err = os.Readlink(path)
		case 0:
			var text []byte
			text, err = os.ReadFile(path)
			content = string(text)
		}
		found[name] = fmt.Sprint(info.Mode(), " ", content)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}
