package e2e

import (
	"context"
	"encoding/base64"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/faultyregistry"
	"dockline/e2e/gitserver"
	"dockline/e2e/sandbox"
	"dockline/pkg/imageroot"
)

const gitPassword = "the-password-of-the-repository"

// workshop is what clone-build-push works with: a Git server and a registry, both with a password. The registry has a
// base image, and another image under the version "taken".
type workshop struct {
	git      *gitserver.Server
	registry *faultyregistry.Registry
	taken    v1.Image
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	root := t.TempDir()
	server, err := gitserver.Start(gitserver.Options{Root: root, Username: "builder", Password: gitPassword}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	w := &workshop{git: server, registry: faultyregistry.Start(t)}
	w.registry.Login(user, password)
	w.taken = push(t, w.registry, hello+":taken")
	stamp, err := os.ReadFile(filepath.Join(programs, "stamp"))
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Pack(baseimage.File{Path: "/bin/stamp", Content: stamp})
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(w.registry.Host() + "/deepsky/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, base, remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	if _, err := gitserver.Commit(filepath.Join(root, "hello.git"), "develop", "A page", gitserver.Text(map[string]string{
		"page": "hello\n",
		"Dockerfile": "FROM " + w.registry.Host() + "/deepsky/base:1\nCOPY page /srv/page\n" +
			"RUN [\"/bin/stamp\", \"/no/such/folder/version\", \"1.0\"]\nEXPOSE 8080\n",
	})); err != nil {
		t.Fatal(err)
	}
	w.registry.Forget()
	return w
}

// environment is the program's right environment, to which a row adds what is wrong.
func (w *workshop) environment(folder string) []string {
	return []string{
		"IMAGE=" + hello + ":1.0", "REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true",
		"REGISTRY_USERNAME=" + user, "REGISTRY_PASSWORD=" + password,
		"GIT_URL=" + w.git.URL + "/hello.git", "GIT_REVISION=develop", "GIT_CA_FILE=" + folder + "/ca.pem",
		"GIT_USERNAME=builder", "GIT_PASSWORD=" + gitPassword,
	}
}

// TestWrongInputToABuild is TestWrongInput for clone-build-push. Its Dockerfile fails in the third instruction, which
// shows in the one row that gets so far.
func TestWrongInputToABuild(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		bare    bool // without the right environment
		inImage bool // in a sandbox that is marked as Dockline's image
		change  func(w *workshop) []string
		status  int
		last    string // {R}, {G}: the registry's and the Git server's address; {H}: the image name; {OLD}: the digest of "taken"
	}{
		{"no variables", true, false, nil, 2,
			"configuration: IMAGE is missing; REGISTRY is missing; GIT_URL is missing, and so is SOURCE_DIR: one of them is needed. " +
				"Hint: --help prints the table of variables, --print-config what was read (exit status 2)"},
		{"nothing listens at the registry", false, false, func(w *workshop) []string {
			w.registry.Stop()
			return nil
		}, 6,
			`unavailable: registry: asking whether "{R}/{H}" may be written to: connecting: dial tcp {R}: connect: connection refused. ` +
				`Hint: check the host and the port in REGISTRY, and that the registry runs (exit status 6)`},
		{"a wrong password", false, false, func(*workshop) []string {
			return []string{"REGISTRY_PASSWORD=wrong-" + password}
		}, 5,
			`not allowed: registry: asking whether "{R}/{H}" may be written to: 401 Unauthorized (UNAUTHORIZED: authentication required), ` +
				`with the configured user name and password. ` +
				`Hint: check REGISTRY_USERNAME and REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`},
		{"a wrong password for Git", false, false, func(*workshop) []string {
			return []string{"GIT_PASSWORD=wrong-" + gitPassword}
		}, 5,
			`not allowed: Git server: cloning "{G}/hello.git": the server asks for a user name and a password, or refuses those given. ` +
				`Hint: check GIT_USERNAME and GIT_PASSWORD (or GIT_SSH_KEY), and the account's rights (exit status 5)`},
		{"a Git revision that does not exist", false, false, func(*workshop) []string {
			return []string{"GIT_REVISION=no-such-branch"}
		}, 4,
			`not found: Git server: cloning "{G}/hello.git": resolving "no-such-branch": the repository has no such branch or tag. ` +
				`Hint: check GIT_REVISION: a branch, a tag or a full commit hash (exit status 4)`},
		{"the version exists with another digest", false, false, func(*workshop) []string {
			return []string{"IMAGE=" + hello + ":taken", "OVERWRITE=false"}
		}, 3,
			`refused: registry: tagging "{R}/{H}:taken": it is there already, as {OLD}. ` +
				`Hint: build another version, or set OVERWRITE=true (exit status 3)`},
		{"the registry answers 500", false, false, func(w *workshop) []string {
			w.registry.Break("* /", -1, faultyregistry.Status(500, ""))
			return nil
		}, 6,
			`unavailable: registry: asking whether "{R}/{H}" may be written to: 500 Internal Server Error. ` +
				`Hint: this step may be started again: it takes up where it stopped (exit status 6)`},
		{"outside of its image", false, false, nil, 3,
			`refused: refusing to build: this is not Dockline's image (/kaniko/dockline-owns-this-root and KANIKO_DIR=/kaniko mark it), ` +
				`and a build deletes the file system around it. Hint: run the step in Dockline's image (exit status 3)`},
		{"the third instruction fails", false, true, nil, 9,
			`build failed: Dockerfile:3: RUN ["/bin/stamp", "/no/such/folder/version", "1.0"]: exit status 1. ` +
				`Hint: mend the Dockerfile or its context and build again (exit status 9)`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorkshop(t)
			folder := t.TempDir() // for all that the program may write
			if err := os.WriteFile(filepath.Join(folder, "ca.pem"), w.git.CA, 0o600); err != nil {
				t.Fatal(err)
			}
			inside := folder
			if row.inImage {
				inside = "/folder"
			}
			var environment []string
			if !row.bare {
				environment = w.environment(inside)
			}
			if row.change != nil {
				environment = append(environment, row.change(w)...) // the last one of a name counts
			}
			for variable, path := range map[string]string{
				"RESULTS_DIR": "results", "DOTENV_FILE": "dotenv", "REPORT_FILE": "report.json", "TMPDIR": "", "HOME": "",
			} {
				environment = append(environment, variable+"="+filepath.Join(inside, path))
			}

			var status int
			var output string
			if row.inImage {
				status, output = executeInImage(t, environment, folder)
			} else {
				status, output = execute(t, "clone-build-push", environment, nil)
			}
			output = strings.TrimSpace(output)
			last := output[strings.LastIndex(output, "\n")+1:]
			want := "clone-build-push: " + strings.NewReplacer("{R}", w.registry.Host(), "{G}", w.git.URL, "{H}", hello,
				"{OLD}", digest(t, w.taken)).Replace(row.last)
			if status != row.status || last != want {
				t.Errorf("exit status %d and the last line\n%s\nwant %d and\n%s\nin all:\n%s", status, last, row.status, want, output)
			}
			checkFolder(t, folder, output)
			w.checkUntouched(t)
		})
	}
}

// checkFolder wants nothing to be left but the report and what the test itself put there, and no secret in that, nor in
// the output.
func checkFolder(t *testing.T, folder, output string) {
	t.Helper()
	written := map[string]string{"the output": output}
	if err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		written[strings.TrimPrefix(path, folder)] = string(text)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for path, text := range written {
		if !slices.Contains([]string{"the output", "/ca.pem", "/report.json"}, path) {
			t.Errorf("%s was left", path)
		}
		for _, secret := range []string{password, gitPassword} {
			if strings.Contains(text, secret) || strings.Contains(text, base64.StdEncoding.EncodeToString([]byte(secret))) {
				t.Errorf("%s shows a secret:\n%s", path, text)
			}
		}
	}
	if !strings.Contains(written["/report.json"], `"exit_status"`) {
		t.Errorf("the report is %q", written["/report.json"])
	}
}

// checkUntouched wants no manifest, and so no tag, to have been pushed.
func (w *workshop) checkUntouched(t *testing.T) {
	t.Helper()
	for _, request := range w.registry.Requests() {
		if strings.HasPrefix(request, "PUT ") && strings.Contains(request, "/manifests/") {
			t.Errorf("something was pushed: %s", request)
		}
	}
}

// executeInImage runs clone-build-push in a sandbox with the marks of Dockline's image, and folder at /folder.
func executeInImage(t *testing.T, environment []string, folder string) (status int, output string) {
	t.Helper()
	if err := sandbox.Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("NO REAL BUILD IS TESTED: %v", err)
	}
	const program = "/kaniko/bin/clone-build-push"
	box, err := sandbox.New(t.TempDir(), sandbox.Spec{
		Args: []string{program}, Env: append(environment, "KANIKO_DIR="+imageroot.Dir),
		Programs: map[string]string{program: filepath.Join(programs, "clone-build-push")},
		Files:    map[string]string{imageroot.Marker: ""},
		Binds:    map[string]string{"/folder": folder},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return finish(t, command)
}
