//go:build e2e

package git_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dockline/e2e/git"
	"dockline/e2e/gitserver"
)

// background is for what all tests share, and outlives each of them.
var background = context.Background()

const username, password = "release", "s3cr3t-of-the-repository"

// program is clone-build-push, compiled once.
var program = sync.OnceValues(func() (string, error) {
	path := filepath.Join(home, "clone-build-push")
	out, err := exec.Command("go", "build", "-o", path, "dockline/cmd/clone-build-push").CombinedOutput() //nolint:gosec // ours
	if err != nil {
		return "", errors.New(string(out))
	}
	return path, nil
})

// home is the folder of all tests: gpg's, which bears only a short path, among them.
var home string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		if err := git.Need(background); err != nil {
			panic(err)
		}
		dir, err := os.MkdirTemp("", "git")
		if err != nil {
			panic(err)
		}
		home = dir
		defer os.RemoveAll(dir)
		return m.Run()
	}())
}

// author is a person at a work tree, with settings of git's own.
type author struct {
	t    *testing.T
	dir  string   // the work tree
	env  []string // of every command
	bare string   // the repository that is pushed to
}

// newAuthor makes a bare repository, NAME.git below root, and a work tree of it.
func newAuthor(t *testing.T, root, name string) *author {
	t.Helper()
	a := &author{t: t, dir: t.TempDir(), bare: filepath.Join(root, name+".git")}
	settings := filepath.Join(t.TempDir(), "gitconfig")
	a.env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL="+settings, "HOME="+t.TempDir(), "GIT_LFS_SKIP_PUSH=1")
	if err := os.WriteFile(settings, []byte("[user]\n\tname = Release Manager\n\temail = release@example.com\n"+
		"[init]\n\tdefaultBranch = main\n[protocol \"file\"]\n\tallow = always\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a.git("init", "--quiet", "--bare", a.bare)
	a.git("init", "--quiet", ".")
	a.git("remote", "add", "origin", a.bare)
	return a
}

func (a *author) git(args ...string) string { a.t.Helper(); return a.run("git", args...) }

func (a *author) run(name string, args ...string) string {
	a.t.Helper()
	return a.feed("", name, args...)
}

// feed runs a command that reads a text.
func (a *author) feed(text, name string, args ...string) string {
	a.t.Helper()
	command := exec.CommandContext(a.t.Context(), name, args...) //nolint:gosec // the tests' own
	command.Dir, command.Env, command.Stdin = a.dir, a.env, strings.NewReader(text)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		a.t.Fatalf("%s %q: %v\n%s", name, args, err, &said)
	}
	return strings.TrimSpace(string(out))
}

// write writes a file, without a commit.
func (a *author) write(path, text string) {
	a.t.Helper()
	path = filepath.Join(a.dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		a.t.Fatal(err)
	}
}

// commit commits the work tree, with further words for git commit, and returns the hash.
func (a *author) commit(message string, args ...string) string {
	a.t.Helper()
	a.git("add", "--all")
	a.git(append([]string{"commit", "--quiet", "--allow-empty", "-m", message}, args...)...)
	return a.git("rev-parse", "HEAD")
}

func (a *author) push() {
	a.t.Helper()
	a.git("push", "--quiet", "--force", "--all", "origin")
	a.git("push", "--quiet", "--force", "--tags", "origin")
}

// key makes a key for ssh, and returns its private half's path.
func key(t *testing.T, kind, passphrase string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "id_"+kind)
	if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "release@example.com", "-f", path).CombinedOutput(); err != nil { //nolint:gosec // the tests' own
		t.Fatalf("%v: %s", err, out)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// serve serves repositories by git's http-backend, over TLS and with a password.
func serve(t *testing.T, root string) *gitserver.Server {
	t.Helper()
	server, err := gitserver.Start(gitserver.Options{Root: root, Username: username, Password: password}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	return server
}

// byHTTPS is the environment by which a repository is cloned from the server.
func byHTTPS(t *testing.T, server *gitserver.Server, path string) map[string]string {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"GIT_URL": server.URL + "/" + path, "GIT_CA_FILE": ca, "GIT_USERNAME": username, "GIT_PASSWORD": password,
	}
}

// sshURL is a repository's address at an OpenSSH server.
func sshURL(t *testing.T, server *git.Server, path string) string {
	t.Helper()
	who, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return "ssh://" + who.Username + "@" + server.Address + path
}

// clone is a run of PHASE=clone, and of PHASE=build after it where that is asked for.
type clone struct {
	status         int
	output         string
	source, images string // folders
	told           struct {
		Commit, Branch, Tag, Signed, Signer string
	}
}

// run runs a phase of the program with an environment, changed by others.
func run(t *testing.T, phase string, environments ...map[string]string) clone {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Fatal(err)
	}
	checkout, images := t.TempDir(), t.TempDir()
	environment := map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": t.TempDir(), "TMPDIR": t.TempDir(), "RESULTS_DIR": t.TempDir(),
		"PHASE": phase, "CHECKOUT_DIR": checkout, "IMAGE_DIR": images, "IMAGE": "deepsky/hello:1.0",
	}
	for _, changes := range environments {
		for name, value := range changes {
			environment[name] = value
		}
	}
	command := exec.CommandContext(t.Context(), path) //nolint:gosec // ours
	for name, value := range environment {
		command.Env = append(command.Env, name+"="+value)
	}
	out, err := command.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	c := clone{
		status: command.ProcessState.ExitCode(), output: string(out), source: filepath.Join(environment["CHECKOUT_DIR"], "source"),
		images: environment["IMAGE_DIR"],
	}
	if strings.Contains(c.output, password) {
		t.Errorf("the output shows the password:\n%s", c.output)
	}
	if c.status == 0 {
		if err := json.Unmarshal([]byte(read(t, filepath.Join(environment["CHECKOUT_DIR"], "checkout.json"))), &c.told); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// last is the last line of what it wrote.
func (c clone) last() string {
	text := strings.TrimSpace(c.output)
	return text[strings.LastIndex(text, "\n")+1:]
}
