package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/git"
)

func TestScrub(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ description, config, want string }{
		{
			"a password in a remote's URL",
			"[remote \"origin\"]\n\turl = https://gitlab-ci-token:s3cr3t@host/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
			"[remote \"origin\"]\n\turl = https://host/x.git\n\tfetch = +refs/heads/*:refs/remotes/origin/*\n",
		},
		{"a token as the user", "[remote \"o\"]\n\turl = https://s3cr3t@host/x.git\n", "[remote \"o\"]\n\turl = https://host/x.git\n"},
		{"an Authorization header", "[http \"https://host\"]\n\textraheader = AUTHORIZATION: basic s3cr3t\n[core]\n\tbare = false\n", "[http \"https://host\"]\n[core]\n\tbare = false\n"},
		{"a header on the line of its section", "[http] extraHeader = Authorization: Bearer s3cr3t\n", "[http]\n"},
		{"a header over two lines", "[http]\n\textraheader = Authorization: \\\n s3cr3t\n[core]\n", "[http]\n[core]\n"},
		{"a rewritten URL", "[url \"https://u:s3cr3t@host/\"]\n\tinsteadOf = https://host/\n", "[url \"https://host/\"]\n\tinsteadOf = https://host/\n"},
		{"a proxy", "[http]\n\tproxy = http://u:s3cr3t@proxy:3128\n", "[http]\n\tproxy = http://proxy:3128\n"},
		{"the user of ssh stays", "[remote \"o\"]\n\turl = ssh://git@host/x.git\n", "[remote \"o\"]\n\turl = ssh://git@host/x.git\n"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			path := filepath.Join(dir, ".git", "modules", "lib", "config")
			write(t, path, test.config)
			write(t, filepath.Join(dir, ".git", "config"), "[core]\n\tbare = false\n")

			holds := strings.Contains(test.config, "s3cr3t")
			found, err := git.CredentialFiles(dir)
			if err != nil || (len(found) == 1 && found[0] == path) != holds {
				t.Errorf("files with credentials: %q (%v)", found, err)
			}
			changed, err := git.Scrub(dir)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(found, changed); diff != "" {
				t.Errorf("files found and changed:\n%s", diff)
			}
			if diff := cmp.Diff(test.want, read(t, path)); diff != "" {
				t.Errorf("configuration (-want +got):\n%s", diff)
			}
			if found, err = git.CredentialFiles(dir); err != nil || len(found) > 0 {
				t.Errorf("afterwards: %q (%v)", found, err)
			}
		})
	}
}

func TestScrubFollowsALinkedWorkTree(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	config := filepath.Join(dir, "elsewhere", "config")
	write(t, config, "[remote \"o\"]\n\turl = https://u:s3cr3t@host/x.git\n")
	write(t, filepath.Join(dir, "tree", ".git"), "gitdir: ../elsewhere\n")
	changed, err := git.Scrub(filepath.Join(dir, "tree"))
	if err != nil || len(changed) != 1 || strings.Contains(read(t, config), "s3cr3t") {
		t.Errorf("changed %q (%v), left %q", changed, err, read(t, config))
	}
	if none, err := git.Scrub(t.TempDir()); err != nil || len(none) > 0 {
		t.Errorf("without .git: %q, %v", none, err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
