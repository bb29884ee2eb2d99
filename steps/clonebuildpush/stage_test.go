package clonebuildpush

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/step"
)

const (
	registryPassword = "s3cr3t-of-the-registry"
	gitPassword      = "s3cr3t-of-the-repository"
)

// fakeBuilder stands in for Kaniko, whose own builds are tested in its sandbox: it notes what it is asked to build.
type fakeBuilder struct {
	requests []request
	page     string // content of the context's page at the time of the build
	err      error
	refuse   bool     // as outside of our image
	foreign  []string // platforms whose programs cannot be run
}

func (f *fakeBuilder) Mounts() ([]string, error) { return nil, nil }

func (f *fakeBuilder) Ready(bool) error {
	if f.refuse {
		return fault.New(fault.Denied, "this is not our image")
	}
	return nil
}

func (f *fakeBuilder) Runs(platform string) (bool, error) {
	return !slices.Contains(f.foreign, platform), nil
}

func (f *fakeBuilder) Build(_ context.Context, what request) (v1.Image, func(), error) {
	f.requests = append(f.requests, what)
	page, _ := os.ReadFile(filepath.Join(what.ContextDir, "page"))
	f.page = string(page)
	if f.err != nil {
		return nil, nil, f.err
	}
	image, err := random.Image(1024, 3)
	if err != nil {
		return nil, nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, nil, err
	}
	config = config.DeepCopy()
	config.Config.Labels = what.Labels
	if what.Platform != "" {
		platform, err := v1.ParsePlatform(what.Platform)
		if err != nil {
			return nil, nil, err
		}
		config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	}
	image, err = mutate.ConfigFile(image, config)
	return image, func() {}, err
}

// stage is what a run needs: a Git server and a registry, both with passwords.
type stage struct {
	t         *testing.T
	builder   *fakeBuilder
	repo      string
	registry  string
	env       map[string]string
	resultDir string
	root      string // where the step looks for credential files
}

func newStage(t *testing.T) *stage {
	t.Helper()
	root := t.TempDir()
	server, err := gitserver.Start(gitserver.Options{Root: root, Username: "release", Password: gitPassword}, true)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, server.CA, 0o600); err != nil {
		t.Fatal(err)
	}
	s := &stage{
		t: t, builder: &fakeBuilder{}, repo: filepath.Join(root, "hello.git"),
		registry: startRegistry(t), resultDir: t.TempDir(), root: t.TempDir(),
	}
	s.env = map[string]string{
		"IMAGE": "deepsky/hello:1.0", "REGISTRY": s.registry, "REGISTRY_INSECURE": "true",
		"REGISTRY_USERNAME": "pusher", "REGISTRY_PASSWORD": registryPassword,
		"GIT_URL": server.URL + "/hello.git", "GIT_REVISION": "develop", "GIT_CA_FILE": ca,
		"GIT_USERNAME": "release", "GIT_PASSWORD": gitPassword,
		"CONTEXT_DIR": "hello_v1.0", "RESULTS_DIR": s.resultDir, "HOME": t.TempDir(),
	}
	return s
}

func (s *stage) commit(page string) string {
	s.t.Helper()
	hash, err := gitserver.Commit(s.repo, "develop", "Page "+page, gitserver.Text(map[string]string{
		"hello_v1.0/Dockerfile": "FROM scratch\nCOPY page /page\n", "hello_v1.0/page": page,
	}))
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

// run runs the step with the stage's environment, changed by pairs of name and value, and returns its exit status and
// what it wrote.
func (s *stage) run(changes ...string) (status int, output string) {
	s.t.Helper()
	environment := map[string]string{}
	for name, value := range s.env {
		environment[name] = value
	}
	for i := 0; i+1 < len(changes); i += 2 {
		environment[changes[i]] = changes[i+1]
	}
	return s.runProgram(s.builder, environment)
}

// runProgram runs the step with a builder and an environment.
func (s *stage) runProgram(b builder, environment map[string]string) (status int, output string) {
	s.t.Helper()
	var list []string
	for name, value := range environment {
		list = append(list, name+"="+value)
	}
	var out bytes.Buffer
	status = step.Run(s.t.Context(), program(b, s.root), nil, list, &out, &out)
	for _, secret := range []string{registryPassword, gitPassword} {
		if strings.Contains(out.String(), secret) {
			s.t.Errorf("the output shows a secret:\n%s", out.String())
		}
	}
	return status, out.String()
}

func (s *stage) mustRun(changes ...string) {
	s.t.Helper()
	if status, output := s.run(changes...); status != 0 {
		s.t.Fatalf("exit status %d:\n%s", status, output)
	}
}

func (s *stage) result(name string) string {
	text, _ := os.ReadFile(filepath.Join(s.resultDir, name))
	return string(text)
}

// digest is what the registry holds under a tag; "" when nothing.
func (s *stage) digest(tag string) string {
	s.t.Helper()
	ref, err := name.ParseReference(s.registry+"/deepsky/hello:"+tag, name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	got, err := remote.Get(ref, remote.WithAuth(&authn.Basic{Username: "pusher", Password: registryPassword}))
	if err != nil {
		return ""
	}
	return got.Digest.String()
}

// startRegistry is a registry in process that asks for a password.
func startRegistry(t *testing.T, wrap ...func(http.Handler) http.Handler) string {
	t.Helper()
	open := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	for _, outer := range wrap {
		open = outer(open)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "pusher" || password != registryPassword {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`)
			return
		}
		open.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}
