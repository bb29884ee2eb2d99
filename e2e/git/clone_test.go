//go:build e2e

package git_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/connectproxy"
	"dockline/e2e/git"
)

// TestCloneWhatGitHasPushed clones every form of a revision, by https and by ssh, and has git look at the work tree.
func TestCloneWhatGitHasPushed(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	lib := newAuthor(t, root, "lib")
	lib.write("lib.txt", "one\n")
	lib.commit("A library")
	lib.push()

	a := newAuthor(t, root, "hello")
	a.write("page", "one\n")
	first := a.commit("First")
	a.git("tag", "v1.0")
	a.write("page", "two\n")
	a.write("bin/run", "#!/bin/sh\n")
	if err := os.Chmod(filepath.Join(a.dir, "bin/run"), 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	if err := os.Symlink("page", filepath.Join(a.dir, "link")); err != nil {
		t.Fatal(err)
	}
	a.git("submodule", "--quiet", "add", "../lib.git", "vendored/lib")
	second := a.commit("Second")
	a.git("tag", "--annotate", "-m", "Release 2.0", "v2.0")
	a.git("tag", "--annotate", "-m", "A tag of a tag", "nested", "v2.0")
	a.push()
	a.git("push", "--quiet", "origin", first+":refs/merge-requests/7/head")

	mine := key(t, "ed25519", "")
	server := serve(t, root)
	sshd, err := git.StartSSH(t.Context(), t.TempDir(), []byte(read(t, mine+".pub")))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sshd.Stop() })
	ways := map[string]map[string]string{
		"https": byHTTPS(t, server, "hello.git"),
		"ssh": {
			"GIT_URL": sshURL(t, sshd, a.bare), "GIT_SSH_KEY": read(t, mine), "GIT_KNOWN_HOSTS": scan(t, sshd),
		},
	}
	for way, environment := range ways {
		for _, test := range []struct {
			description, revision, commit string
			commits                       string // that are fetched
		}{
			{"the default branch", "", second, "1"},
			{"a branch", "main", second, "1"},
			{"a tag", "v1.0", first, "1"},
			{"an annotated tag", "v2.0", second, "1"},
			{"a tag of a tag", "nested", second, "1"},
			{"a reference", "refs/merge-requests/7/head", first, "1"},
			{"a hash that a branch leads to", second, second, "1"},
			{"a hash that a reference leads to", first, first, "1"},
		} {
			t.Run(way+"/"+test.description, func(t *testing.T) {
				t.Parallel()
				got := run(t, "clone", environment, map[string]string{
					"GIT_REVISION": test.revision, "GIT_SUBMODULES": "true", "KEEP_GIT_DIR": "true",
				})
				if got.status != 0 || got.told.Commit != test.commit {
					t.Fatalf("exit status %d, commit %q, want %q:\n%s", got.status, got.told.Commit, test.commit, got.output)
				}
				look := func(args ...string) string {
					command := exec.CommandContext(t.Context(), "git", append([]string{"-C", got.source}, args...)...) //nolint:gosec // the test's
					command.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null")
					out, err := command.CombinedOutput()
					if err != nil {
						t.Errorf("git %q: %v: %s", args, err, out)
					}
					return strings.TrimSpace(string(out))
				}
				if head := look("rev-parse", "HEAD"); head != test.commit {
					t.Errorf("git finds commit %s", head)
				}
				if commits := look("rev-list", "--count", "HEAD"); commits != test.commits {
					t.Errorf("%s commits were fetched, want %s", commits, test.commits)
				}
				if status := look("-c", "core.fileMode=true", "status", "--porcelain", "--ignore-submodules=all"); status != "" {
					t.Errorf("the work tree is not the commit's:\n%s", status)
				}
				look("fsck", "--no-progress")
				if test.commit == second && read(t, filepath.Join(got.source, "vendored/lib/lib.txt")) != "one\n" {
					t.Error("the submodule is not there")
				}
			})
		}
	}
}

// TestAHashThatNothingLeadsTo is one commit where the server gives hashes, and else found in the whole history.
func TestAHashThatNothingLeadsTo(t *testing.T) {
	t.Parallel()
	for setting, commits := range map[string]int{"false": 2, "true": 1} {
		t.Run("uploadpack.allowReachableSHA1InWant="+setting, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			a := newAuthor(t, root, "hello")
			a.commit("First")
			second := a.commit("Second")
			a.commit("Third")
			a.push()
			a.git("-C", a.bare, "config", "uploadpack.allowReachableSHA1InWant", setting)
			got := run(t, "clone", byHTTPS(t, serve(t, root), "hello.git"), map[string]string{"GIT_REVISION": second, "KEEP_GIT_DIR": "true"})
			if got.status != 0 || got.told.Commit != second {
				t.Fatalf("exit status %d:\n%s", got.status, got.output)
			}
			if count := len(strings.Fields(a.git("-C", got.source, "rev-list", "HEAD"))); count != commits {
				t.Errorf("%d commits were fetched, want %d", count, commits)
			}
		})
	}
}

// scan asks a server for its keys, as people do.
func scan(t *testing.T, server *git.Server) string {
	t.Helper()
	host, port, _ := strings.Cut(server.Address, ":")
	out, err := exec.CommandContext(t.Context(), "ssh-keyscan", "-p", port, host).Output() //nolint:gosec // the test's
	if err != nil || len(out) == 0 {
		t.Fatalf("ssh-keyscan: %v", err)
	}
	return string(out)
}

// TestOpenSSH has OpenSSH's server judge our keys, and ours its own.
func TestOpenSSH(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a := newAuthor(t, root, "hello")
	commit := a.commit("First")
	a.push()

	kinds := map[string]string{}
	var authorized strings.Builder
	for _, kind := range []string{"ed25519", "ecdsa", "rsa"} {
		path := key(t, kind, "")
		kinds[kind] = read(t, path)
		authorized.WriteString(read(t, path+".pub"))
	}
	server, err := git.StartSSH(t.Context(), t.TempDir(), []byte(authorized.String()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	known := scan(t, server)
	hashed := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(hashed, []byte(known), 0o600); err != nil {
		t.Fatal(err)
	}
	a.run("ssh-keygen", "-q", "-H", "-f", hashed)
	address := "[127.0.0.1]:" + server.Address[strings.LastIndex(server.Address, ":")+1:]
	other := address + " " + read(t, key(t, "ed25519", "")+".pub")

	for _, test := range []struct {
		description, key, known string
		status                  int
		last                    string
	}{
		{"an Ed25519 key", kinds["ed25519"], known, 0, ""},
		{"an ECDSA key", kinds["ecdsa"], known, 0, ""},
		{"an RSA key", kinds["rsa"], known, 0, ""},
		{"a key without its last line end", strings.TrimSpace(kinds["ed25519"]), known, 0, ""},
		{"hashed known hosts", kinds["ed25519"], read(t, hashed), 0, ""},
		{"a key that the server does not know", read(t, key(t, "ed25519", "")), known, 5, "the server refuses the ssh key. Hint: check GIT_USERNAME and GIT_PASSWORD (or GIT_SSH_KEY), and the account's rights (exit status 5)"},
		{"a key with a passphrase", read(t, key(t, "ed25519", "s3cr3t-phrase")), known, 2, "passphrase"},
		{"a server with another key than is known", kinds["ed25519"], other, 5, "(ssh-keyscan shows what the host sends) (exit status 5)"},
		{"a server that is not known", kinds["ed25519"], strings.ReplaceAll(known, address, "elsewhere.example.com"), 5, "the host's key is not among the known hosts"},
		{"a server whose key was revoked", kinds["ed25519"], "@revoked " + strings.TrimSpace(lastLine(known)) + "\n", 5, "the host's key is not among the known hosts"},
		{"no known hosts", kinds["ed25519"], "", 2, "GIT_KNOWN_HOSTS is missing"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			got := run(t, "clone", map[string]string{
				"GIT_URL": sshURL(t, server, a.bare), "GIT_SSH_KEY": test.key, "GIT_KNOWN_HOSTS": test.known,
			})
			if got.status != test.status || !strings.Contains(got.last(), test.last) {
				t.Errorf("exit status %d, want %d, with %q in the last line:\n%s", got.status, test.status, test.last, got.output)
			}
			if got.status == 0 && got.told.Commit != commit {
				t.Errorf("commit is %q, want %q", got.told.Commit, commit)
			}
		})
	}
}

func lastLine(text string) string {
	text = strings.TrimSpace(text)
	return text[strings.LastIndex(text, "\n")+1:]
}

// TestThroughAProxy has the program go by HTTPS_PROXY, with its account, to a server whose name only the proxy knows.
func TestThroughAProxy(t *testing.T) {
	t.Parallel()
	const account, secret = "build", "s3cr3t-of-the-proxy"
	root := t.TempDir()
	a := newAuthor(t, root, "hello")
	a.commit("First")
	a.push()
	server := serve(t, root)
	proxy := connectproxy.Start(strings.TrimPrefix(server.URL, "https://"), account+":"+secret)
	t.Cleanup(proxy.Close)
	environment := byHTTPS(t, server, "hello.git")
	environment["GIT_URL"] = "https://example.com/hello.git" // a name of the certificate
	for _, test := range []struct {
		description string
		changes     map[string]string
		status      int
		last        string
	}{
		{"with its account", map[string]string{"HTTPS_PROXY": "http://" + account + ":" + secret + "@" + proxy.Address}, 0, ""},
		{"in lower case", map[string]string{"https_proxy": "http://" + account + ":" + secret + "@" + proxy.Address}, 0, ""},
		{"with a wrong account", map[string]string{"HTTPS_PROXY": "http://" + account + ":wrong-" + secret + "@" + proxy.Address}, 5,
			`clone-build-push: not allowed: Git server: cloning "https://example.com/hello.git": connecting through the proxy "` + proxy.Address +
				`": it answers 407 Proxy Authentication Required. Hint: check the proxy and its account in HTTPS_PROXY (or HTTP_PROXY), ` +
				`and name the hosts to reach directly in NO_PROXY (exit status 5)`},
		{"that is none", map[string]string{"HTTPS_PROXY": "://" + secret}, 2, "clone-build-push: configuration: HTTPS_PROXY is no address of a proxy"},
		{"that is not for this host", map[string]string{"HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": "127.0.0.1", "GIT_URL": server.URL + "/hello.git"}, 0, ""},
	} {
		t.Run(test.description, func(t *testing.T) {
			got := run(t, "clone", environment, test.changes)
			if got.status != test.status || !strings.HasPrefix(got.last(), test.last) || strings.Contains(got.output, secret) {
				t.Errorf("exit status %d, want %d and the last line\n%s\ngot:\n%s", got.status, test.status, test.last, got.output)
			}
		})
	}
	if asked := proxy.Asked(); len(asked) == 0 || asked[0] != "example.com:443" {
		t.Errorf("the proxy was asked for %q", asked)
	}
}

// TestPointersOfGitLFS: what git-lfs has made of a file is not built.
func TestPointersOfGitLFS(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	a := newAuthor(t, root, "hello")
	a.git("lfs", "install", "--local")
	a.git("lfs", "track", "*.png")
	a.write("Dockerfile", "FROM scratch\nCOPY . /\n")
	a.write("images/logo.png", strings.Repeat("not a picture\n", 100))
	a.commit("With a picture")
	a.git("branch", "whole")
	a.write(".dockerignore", "images\n")
	a.commit("Without a picture")
	a.push()
	server := serve(t, root)
	for _, test := range []struct {
		revision string
		status   int
		last     string
	}{
		{"whole", 9, `clone-build-push: build failed: reading the build context: it holds pointers of Git LFS instead of the files that they stand for: "images/logo.png". ` +
			"Hint: this step fetches no Git LFS: have git lfs pull run before, and build that work tree (SOURCE_DIR), or keep these files out by .dockerignore (exit status 9)"},
		{"main", 3, "clone-build-push: refused: refusing to build: this is not Dockline's image"}, // it comes so far
	} {
		t.Run(test.revision, func(t *testing.T) {
			t.Parallel()
			got := run(t, "clone", byHTTPS(t, server, "hello.git"), map[string]string{"GIT_REVISION": test.revision})
			if got.status != 0 {
				t.Fatalf("exit status %d:\n%s", got.status, got.output)
			}
			built := run(t, "build", map[string]string{"CHECKOUT_DIR": filepath.Dir(got.source), "IMAGE_DIR": got.images})
			if built.status != test.status || !strings.HasPrefix(built.last(), test.last) {
				t.Errorf("exit status %d, want %d and the last line\n%s\ngot:\n%s", built.status, test.status, test.last, built.output)
			}
		})
	}
}
