//go:build e2e

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/engine"
	"dockline/e2e/story"
)

var (
	docker  *engine.Engine
	image   string // Dockline's, in the engine
	project Project
)

func TestMain(m *testing.M) {
	status, err := withEngine(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, "GitLab's pipelines cannot be run:", err)
		os.Exit(1)
	}
	os.Exit(status)
}

func withEngine(run func() int) (status int, err error) {
	ctx := context.Background()
	if docker, err = engine.Start(ctx); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, docker.Close()) }()
	if image, err = docker.Load(ctx, "../../.build/image/image.tar"); err != nil {
		return 0, fmt.Errorf("has make image been run? %w", err)
	}
	dir, err := os.MkdirTemp("", "gitlab-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	project = Project{Dir: filepath.Join(dir, "hello"), home: filepath.Join(dir, "home"), engine: docker}
	if err := project.install(ctx); err != nil {
		return 0, err
	}
	return run(), nil
}

// TestThePipeline runs the example project from the merge to develop to production, with what goes wrong on the way.
func TestThePipeline(t *testing.T) {
	ctx := t.Context()
	programs, dir := t.TempDir(), t.TempDir()
	if err := story.Compile(ctx, programs); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	world, err := story.Open(ctx, programs, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	if err := project.begin(ctx, world); err != nil {
		t.Fatal(err)
	}
	must := func(status int, variables map[string]string, jobs ...string) string {
		t.Helper()
		job, err := project.Run(ctx, variables, jobs...)
		if err != nil {
			t.Fatal(err)
		}
		if job.Status != status {
			t.Fatalf("%v: exit status %d, want %d\n%s", jobs, job.Status, status, job.Output)
		}
		return job.Output
	}
	out := must(0, nil, "build-image", "deploy-dev", "verify-dev")
	t.Log(out)
}

// begin makes the example project, as a team that has included the pipeline has it, and its settings.
func (p *Project) begin(ctx context.Context, world *story.World) error {
	example, err := os.ReadFile("../../gitlab-ci/example/.gitlab-ci.yml")
	if err != nil {
		return err
	}
	pipeline, err := os.ReadFile("../../gitlab-ci/dockline.yml")
	if err != nil {
		return err
	}
	changed := strings.NewReplacer(
		"project: dockline/dockline\n    ref: main\n    file: gitlab-ci/dockline.yml", "local: dockline.yml",
		"registry-testing.example.com", world.Testing.Host, "registry.example.com", world.Production.Host,
		"hello-dev", world.Dev.Namespace, "hello-prod", world.Prod.Namespace,
		"    inputs:\n", "    inputs:\n      dockline-image: "+image+"\n      dev-url: "+world.Dev.URL()+"\n      prod-url: "+world.Prod.URL()+"\n",
	).Replace(string(example))
	files := map[string]string{".gitlab-ci.yml": changed, "dockline.yml": string(pipeline), ".gitignore": ".gitlab-ci-local\n"}
	for _, name := range []string{"Dockerfile", "index.html"} {
		text, err := os.ReadFile(filepath.Join("../../gitlab-ci/example", name)) //nolint:gosec // the project's own
		if err != nil {
			return err
		}
		files[name] = string(text)
	}
	if err := os.MkdirAll(p.Dir, 0o755); err != nil { //nolint:gosec // a work tree
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch", "develop"}, {"remote", "add", "origin", "https://gitlab.example.com/team/hello.git"},
	} {
		if _, err := p.git(ctx, args...); err != nil {
			return err
		}
	}
	for path, text := range files {
		if err := p.Write(path, text); err != nil {
			return err
		}
	}
	if _, err := p.Commit(ctx, "Say hello"); err != nil {
		return err
	}
	return p.setVariables(world)
}
