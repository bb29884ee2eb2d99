//go:build e2e

package git_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// keyring is a home of gpg's with one key.
func keyring(t *testing.T, a *author, name, made, lives string) (program, public string) {
	t.Helper()
	dir, err := os.MkdirTemp(home, "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exec.CommandContext(background, "gpgconf", "--homedir", dir, "--kill", "gpg-agent").Run() }) //nolint:gosec // the test's
	options := []string{"--homedir", dir, "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"}
	if made != "" {
		options = append(options, "--faked-system-time", made)
	}
	a.run("gpg", append(options, "--quick-generate-key", name+" <"+name+"@example.com>", "ed25519", "sign", lives)...)
	public = a.run("gpg", append(options, "--armor", "--export")...)
	program = filepath.Join(dir, "gpg")
	if err := os.WriteFile(program, []byte("#!/bin/sh\nexec gpg "+strings.Join(quoted(options), " ")+" \"$@\"\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	return program, public + "\n"
}

func quoted(words []string) (out []string) {
	for _, word := range words {
		out = append(out, "'"+word+"'")
	}
	return out
}

// TestWhatGitHasSigned has git sign commits and tags with gpg and with ssh-keygen: only what is signed with a given key is
// cloned, and else the program ends with status 3 and leaves no work tree.
func TestWhatGitHasSigned(t *testing.T) {
	root := t.TempDir()
	a := newAuthor(t, root, "hello")
	a.write("page", "hello\n")
	plain := a.commit("Plain")
	gpg, public := keyring(t, a, "release", "", "never")
	stranger, strangers := keyring(t, a, "stranger", "", "never")
	old, expired := keyring(t, a, "old", "20240101T000000", "2d")
	path := key(t, "ed25519", "")
	allowed := "release@example.com " + read(t, path+".pub")

	byGPG := func(program string) []string {
		return []string{"-c", "gpg.format=openpgp", "-c", "gpg.program=" + program, "-c", "user.signingKey=@example.com"}
	}
	bySSH := []string{"-c", "gpg.format=ssh", "-c", "user.signingKey=" + path + ".pub"}
	signed := func(branch string, settings []string) string {
		a.git("checkout", "--quiet", "-B", branch, plain)
		a.git(append(settings, "commit", "--quiet", "--allow-empty", "-S", "-m", branch)...)
		return a.git("rev-parse", "HEAD")
	}
	signed("gpg", byGPG(gpg))
	signed("stranger", byGPG(stranger))
	signed("old", byGPG(old))
	of := signed("ssh", bySSH)
	weak := filepath.Join(t.TempDir(), "gpg")
	if err := os.WriteFile(weak, []byte("#!/bin/sh\nexec "+gpg+" --digest-algo SHA1 \"$@\"\n"), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	signed("weak", byGPG(weak))
	// A commit with another tree under the signature of one with none.
	forged := a.feed(strings.Replace(a.git("cat-file", "commit", "gpg")+"\n", "release@example.com", "forged@example.com", 1), "git", "hash-object", "-t", "commit", "-w", "--stdin")
	a.git("branch", "forged", forged)
	for tag, settings := range map[string][]string{"v1": byGPG(gpg), "v2": bySSH, "v3": byGPG(stranger)} {
		a.git(append(settings, "tag", "-s", "-m", "Release", tag, plain)...)
	}
	a.git("update-ref", "refs/tags/v4", a.git("rev-parse", "v1")) // signed as v1
	a.git("tag", "v5", of)
	a.push()
	// Git itself thinks so too.
	a.git(append(byGPG(gpg), "verify-commit", "gpg")...)
	a.git(append(byGPG(gpg), "verify-tag", "v1")...)

	environment := byHTTPS(t, serve(t, root), "hello.git")
	for _, test := range []struct {
		description, revision, tag, what, keys string
		signer                                 string // "" means that it is refused
		refused                                string
	}{
		{"gpg, a commit", "gpg", "", "commit", public, "release <release@example.com> (", ""},
		{"gpg, a tag", "v1", "", "tag", public, "release <release@example.com> (", ""},
		{"gpg, a tag and its commit's hash", plain, "v1", "tag", strangers + public + allowed, "release <release@example.com> (", ""},
		{"ssh, a commit", "ssh", "", "commit", allowed, "release@example.com (SHA256:", ""},
		{"ssh, a tag", "v2", "", "tag", public + allowed, "release@example.com (SHA256:", ""},
		{"ssh, a commit by way of a tag", "v5", "", "commit", allowed, "release@example.com (SHA256:", ""},
		{"nobody's commit", "main", "", "commit", public + allowed, "", "the commit " + plain + ": it is not signed"},
		{"nobody's tag", "v5", "", "tag", public + allowed, "", `the tag "v5": it is not signed: it is not an annotated tag`},
		{"a stranger's commit", "stranger", "", "commit", public + allowed, "", "the key that it is signed with is none of those given"},
		{"a stranger's tag", "v3", "", "tag", public + allowed, "", "the key that it is signed with is none of those given"},
		{"ssh's, where gpg's is asked for", "ssh", "", "commit", public, "", "the key that it is signed with is none of those given"},
		{"an expired key of gpg's", "old", "", "commit", expired, "", "has expired"},
		{"an expired key of ssh's", "ssh", "", "commit", strings.Replace(allowed, " ", ` valid-before="20250101" `, 1), "", "has expired"},
		{"a key for files", "ssh", "", "commit", strings.Replace(allowed, " ", ` namespaces="file" `, 1), "", "it is for other namespaces"},
		{"a signature with SHA-1", "weak", "", "commit", public, "", "it is made with a hash that is too weak"},
		{"a commit that was changed", "forged", "", "commit", public, "", "the signature does not fit what it is on"},
		{"a signed tag under another name", "v4", "", "tag", public, "", `it is signed as "v1"`},
		{"a tag that was moved", of, "v1", "tag", public, "", `the tag "v1" was moved: it leads to commit ` + plain + ", and commit " + of + " is to be built"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			keys := filepath.Join(t.TempDir(), "keys")
			if err := os.WriteFile(keys, []byte(test.keys), 0o600); err != nil {
				t.Fatal(err)
			}
			got := run(t, "clone", environment, map[string]string{
				"GIT_REVISION": test.revision, "GIT_TAG": test.tag, "GIT_VERIFY": test.what, "GIT_VERIFY_KEYS_FILE": keys,
			})
			if test.signer != "" {
				if got.status != 0 || !strings.HasPrefix(got.told.Signer, test.signer) || got.told.Signed != test.what {
					t.Errorf("exit status %d, signed by %q, want %q:\n%s", got.status, got.told.Signer, test.signer, got.output)
				}
				return
			}
			if got.status != 3 || !strings.Contains(got.last(), test.refused) {
				t.Errorf("exit status %d, want 3, with %q in the last line:\n%s", got.status, test.refused, got.output)
			}
			if _, err := os.Stat(filepath.Join(got.source, "page")); err == nil {
				t.Error("the work tree was written")
			}
		})
	}
}
