// Package e2e tests whole programs from the outside: what they say, what they leave behind, how they end.
package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
	"dockline/e2e/sandbox"
)

const (
	user     = "release-bot"
	password = "correct-horse-battery-staple"
	token    = "sha256~a-token-of-the-cluster"
	hello    = "deepsky/awl-deepsky-hello"
)

var programs string // folder of the built programs

func TestMain(m *testing.M) {
	sandbox.Init()
	dir, err := os.MkdirTemp("", "dockline-programs-*")
	if err != nil {
		panic(err)
	}
	programs = dir
	build := exec.Command("go", "build", "-o", dir+"/", "dockline/cmd/...", "dockline/e2e/baseimage/stamp")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the programs: %v\n%s", err, out)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(status)
}

// world is two registries with a password, an image in the source, another under the same tag in the target, and a
// cluster that refuses every token.
type world struct {
	source, target *faultyregistry.Registry
	cluster        *httptest.Server
	image, other   v1.Image
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{source: faultyregistry.Start(t), target: faultyregistry.Start(t)}
	w.source.Login(user, password)
	w.target.Login(user, password)
	w.image = push(t, w.source, hello+":1.0")
	w.other = push(t, w.target, hello+":taken")
	w.cluster = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json")
		rw.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(rw, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",`+
			`"message":"Unauthorized","reason":"Unauthorized","code":401}`)
	}))
	t.Cleanup(w.cluster.Close)
	return w
}

func push(t *testing.T, to *faultyregistry.Registry, reference string) v1.Image {
	t.Helper()
	image, err := random.Image(512, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(to.Host() + "/" + reference)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithAuth(&authn.Basic{Username: user, Password: password})); err != nil {
		t.Fatal(err)
	}
	return image
}

func digest(t *testing.T, image v1.Image) string {
	t.Helper()
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// environments returns each program's right environment, to which a row adds what is wrong.
func (w *world) environments() map[string][]string {
	cluster := []string{
		"NAMESPACE=prod", "STREAM_TAG=hello-app:prod", "KUBE_SERVER=" + w.cluster.URL, "KUBE_TOKEN=" + token,
		"REGISTRY=" + w.source.Host(), "REGISTRY_INSECURE=true", "REGISTRY_USERNAME=" + user, "REGISTRY_PASSWORD=" + password,
	}
	return map[string][]string{
		"promote": {
			"IMAGE=" + hello + ":1.0",
			"SOURCE_REGISTRY=" + w.source.Host(), "SOURCE_REGISTRY_INSECURE=true",
			"SOURCE_REGISTRY_USERNAME=" + user, "SOURCE_REGISTRY_PASSWORD=" + password,
			"TARGET_REGISTRY=" + w.target.Host(), "TARGET_REGISTRY_INSECURE=true",
			"TARGET_REGISTRY_USERNAME=" + user, "TARGET_REGISTRY_PASSWORD=" + password,
		},
		"retag":  append([]string{"IMAGE=" + hello + ":1.0"}, cluster...),
		"verify": append([]string{"EXPECT_IMAGE=" + hello + ":1.0"}, cluster...),
	}
}

// TestWrongInput: whatever is wrong, a program ends in one clear line with a hint and the documented exit status,
// shows no secret, and writes no results.
func TestWrongInput(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		program string
		bare    bool // without the right environment
		change  func(t *testing.T, w *world) []string
		status  int
		last    string // {S}, {T}: the registries' hosts; {K}: the cluster's; {NEW}, {OLD}: the two digests
	}{
		{"promote: no variables", "promote", true, nil, 2,
			"promote: configuration: IMAGE is missing; SOURCE_REGISTRY is missing; TARGET_REGISTRY is missing. Hint: --help prints the table of variables, --print-config what was read (exit status 2)"},
		{"retag: no variables", "retag", true, nil, 2,
			"retag: configuration: NAMESPACE is missing; STREAM_TAG is missing (or WORKLOADS, on a cluster without image streams); IMAGE is missing; REGISTRY is missing. Hint: --help prints the table of variables, --print-config what was read (exit status 2)"},
		{"verify: no variables", "verify", true, nil, 2,
			"verify: configuration: NAMESPACE is missing; STREAM_TAG is missing (or WORKLOADS, on a cluster without image streams). Hint: --help prints the table of variables, --print-config what was read (exit status 2)"},
		{"promote: nothing listens at the source", "promote", false, func(_ *testing.T, w *world) []string {
			w.source.Stop()
			return nil
		}, 6, `promote: unavailable: source registry: resolving "{S}/deepsky/awl-deepsky-hello:1.0": connecting: dial tcp {S}: connect: connection refused. Hint: check the host and the port in SOURCE_REGISTRY, and that the registry runs (exit status 6)`},
		{"promote: a wrong password at the source", "promote", false, func(*testing.T, *world) []string {
			return []string{"SOURCE_REGISTRY_PASSWORD=wrong-" + password}
		}, 5, `promote: not allowed: source registry: resolving "{S}/deepsky/awl-deepsky-hello:1.0": 401 Unauthorized (UNAUTHORIZED: authentication required), with the configured user name and password. Hint: check SOURCE_REGISTRY_USERNAME and SOURCE_REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`},
		{"promote: a wrong password at the target", "promote", false, func(*testing.T, *world) []string {
			return []string{"TARGET_REGISTRY_PASSWORD=wrong-" + password}
		}, 5, `promote: not allowed: target registry: resolving "{T}/deepsky/awl-deepsky-hello:1.0": 401 Unauthorized (UNAUTHORIZED: authentication required), with the configured user name and password. Hint: check TARGET_REGISTRY_USERNAME and TARGET_REGISTRY_PASSWORD, and that this account has the right to do this (exit status 5)`},
		{"promote: no such version", "promote", false, func(*testing.T, *world) []string {
			return []string{"IMAGE=" + hello + ":9.9"}
		}, 4, `promote: not found: source registry: resolving "{S}/deepsky/awl-deepsky-hello:9.9": it is not there. Hint: check IMAGE and SOURCE_REGISTRY, and that the build pushed this version (exit status 4)`},
		{"promote: the tag exists with another digest", "promote", false, func(*testing.T, *world) []string {
			return []string{"RELEASE_VERSION=taken"}
		}, 3, `promote: refused: target registry: promoting to "{T}/deepsky/awl-deepsky-hello:taken": the tag holds another image, {OLD} (revision unknown, created unknown); not replaced by {NEW} (revision unknown, created unknown). Hint: give this image another version (RELEASE_VERSION), or to replace exactly that one set FORCE_REPLACES={OLD} (exit status 3)`},
		{"promote: the target answers 500", "promote", false, func(_ *testing.T, w *world) []string {
			w.target.Break("* /", -1, faultyregistry.Status(500, ""))
			return nil
		}, 6, `promote: unavailable: target registry: resolving "{T}/deepsky/awl-deepsky-hello:1.0": 500 Internal Server Error. Hint: this step may be started again: it takes up where it stopped (exit status 6)`},
		{"retag: the cluster refuses the token", "retag", false, nil, 5,
			`retag: not allowed: cluster: reading ImageStream "hello-app" in the namespace "prod": the cluster refuses the credentials: Unauthorized. Hint: the cluster refuses the token: renew KUBE_TOKEN (or KUBECONFIG) (exit status 5)`},
		{"verify: the cluster refuses the token", "verify", false, nil, 5,
			`verify: not allowed: cluster: reading ImageStream "hello-app" in the namespace "prod": the cluster refuses the credentials: Unauthorized. Hint: the cluster refuses the token: renew KUBE_TOKEN (or KUBECONFIG) (exit status 5)`},
		{"retag: a token by plain http", "retag", false, func(*testing.T, *world) []string {
			return []string{"KUBE_SERVER=http://api.example.com:8080"}
		}, 2, `retag: configuration: KUBE_SERVER: plain http would show KUBE_TOKEN on its way to "api.example.com:8080": use https. Hint: --help prints the table of variables, --print-config what was read (exit status 2)`},
		{"verify: a token by plain http", "verify", false, func(*testing.T, *world) []string {
			return []string{"KUBE_SERVER=http://192.0.2.1"}
		}, 2, `verify: configuration: KUBE_SERVER: plain http would show KUBE_TOKEN on its way to "192.0.2.1": use https. Hint: --help prints the table of variables, --print-config what was read (exit status 2)`},
		{"an argument", "promote", false, func(*testing.T, *world) []string { return []string{"ARGUMENT"} }, 2,
			`promote: configuration: the argument "ARGUMENT" is unknown: only --help, --print-config and --version are there. Hint: --help prints the table of variables, --print-config what was read (exit status 2)`},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			results := t.TempDir()
			var environment, arguments []string
			if !row.bare {
				environment = w.environments()[row.program]
			}
			if row.change != nil {
				for _, change := range row.change(t, w) {
					if strings.Contains(change, "=") {
						environment = append(environment, change) // the last one counts
					} else {
						arguments = append(arguments, change)
					}
				}
			}
			environment = append(environment, "RESULTS_DIR="+results, "DOTENV_FILE="+filepath.Join(results, "dotenv"))

			status, output := execute(t, row.program, environment, arguments)
			last := output[strings.LastIndex(strings.TrimSpace(output), "\n")+1:]
			want := strings.NewReplacer("{S}", w.source.Host(), "{T}", w.target.Host(), "{K}", w.cluster.URL,
				"{NEW}", digest(t, w.image), "{OLD}", digest(t, w.other)).Replace(row.last)
			if status != row.status || strings.TrimSpace(last) != want {
				t.Errorf("exit status %d and the last line\n%s\nwant %d and\n%s\nin all:\n%s", status, last, row.status, want, output)
			}
			for _, secret := range []string{password, token} {
				if strings.Contains(output, secret) {
					t.Errorf("a secret shows:\n%s", output)
				}
			}
			if left, err := os.ReadDir(results); err != nil || len(left) > 0 && row.program != "verify" {
				t.Errorf("results were written: %v, %v", left, err)
			}
		})
	}
}

func execute(t *testing.T, program string, environment, arguments []string) (status int, output string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, filepath.Join(programs, program), arguments...)
	command.Env = environment
	if command.Env == nil {
		command.Env = []string{}
	}
	return finish(t, command)
}

// finish runs a command and returns its exit status and all that it wrote.
func finish(t *testing.T, command *exec.Cmd) (status int, output string) {
	t.Helper()
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), out.String()
}
