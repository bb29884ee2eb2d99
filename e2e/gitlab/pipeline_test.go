//go:build e2e

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// toDev are the jobs that run by themselves on a merge to develop.
var toDev = []string{"build-image", "deploy-dev", "verify-dev"}

// scenario is the example project beside the servers of the demo.
type scenario struct {
	*testing.T
	world *story.World
}

func begin(t *testing.T) *scenario {
	t.Helper()
	programs, dir := t.TempDir(), t.TempDir()
	if err := story.Compile(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // pods run as another user
		t.Fatal(err)
	}
	world, err := story.Open(t.Context(), programs, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(world.Close)
	if err := project.begin(t.Context(), world); err != nil {
		t.Fatal(err)
	}
	return &scenario{t, world}
}

// runs has jobs run well, and returns what they wrote.
func (s *scenario) runs(variables map[string]string, jobs ...string) string {
	s.Helper()
	job, err := project.Run(s.Context(), variables, jobs...)
	if err != nil {
		s.Fatal(err)
	}
	s.passed(job, jobs...)
	return job.Output
}

// passed wants jobs to have ended well.
func (s *scenario) passed(job Job, jobs ...string) {
	s.Helper()
	for _, name := range jobs {
		if !regexp.MustCompile(`PASS +` + name).MatchString(job.Output) {
			s.Fatalf("%s did not end well (gitlab-ci-local's exit status is %d):\n%s", name, job.Status, job.Output)
		}
	}
}

// fails has a job end in a status, and returns the last line that the step wrote.
func (s *scenario) fails(status int, variables map[string]string, name string) string {
	s.Helper()
	job, err := project.Run(s.Context(), variables, name)
	if err != nil {
		s.Fatal(err)
	}
	if !strings.Contains(job.Output, fmt.Sprintf(" FAIL %d ", status)) {
		s.Fatalf("%s did not end in status %d:\n%s", name, status, job.Output)
	}
	last := ""
	for line := range strings.Lines(job.Output) {
		if _, said, found := strings.Cut(line, "> "); found && strings.HasPrefix(line, name) {
			last = strings.TrimSpace(said)
		}
	}
	return last
}

// commit commits files of the project.
func (s *scenario) commit(message string, files map[string]string) {
	s.Helper()
	for path, text := range files {
		if err := project.Write(path, text); err != nil {
			s.Fatal(err)
		}
	}
	if _, err := project.Commit(s.Context(), message); err != nil {
		s.Fatal(err)
	}
}

// shows wants an environment's page to say a text.
func (s *scenario) shows(in *story.Environment, text string) {
	s.Helper()
	page, err := in.Page(s.Context())
	if err != nil || story.Heading(page) != text {
		s.Errorf("%s shows %q (%v), want %q", in.Namespace, story.Heading(page), err, text)
	}
}

// digest is what a registry holds under a tag of the service.
func (s *scenario) digest(in *story.Registry, tag string) string {
	s.Helper()
	digest, err := in.Digest(s.Context(), tag)
	if err != nil {
		s.Fatal(err)
	}
	return digest
}

// first is the page of the example.
const first = "Hello World! I'm using the version 1.0"

// TestFromDevelopToProduction runs the example project from the merge to develop to production and back, with what goes
// wrong on the way.
func TestFromDevelopToProduction(t *testing.T) {
	s := begin(t)
	// The version is fixed, so that a patch comes under the same one.
	s.commit("Fix the version", map[string]string{".gitlab-ci.yml": strings.Replace(project.read(t, ".gitlab-ci.yml"),
		"image: deepsky/awl-deepsky-hello\n", "image: deepsky/awl-deepsky-hello:1.0\n", 1)})

	before := s.production()
	whole, err := project.Run(t.Context(), nil) // as GitLab starts it: up to the buttons
	if err != nil || whole.Status != 0 {
		t.Fatalf("the pipeline ended with %v, exit status %d\n%s", err, whole.Status, whole.Output)
	}
	s.shows(s.world.Dev, first)
	tested := s.digest(s.world.Testing, "1.0")
	s.untouched(before)
	for _, report := range []string{"report.json", "verify.html", "verify.xml"} {
		if !project.hasArtifact("verify-dev", report) {
			t.Errorf("verify-dev leaves no %s", report)
		}
	}

	s.runs(nil, "production")
	s.shows(s.world.Prod, first)
	if got := s.digest(s.world.Production, "1.0"); got != tested || got == "" {
		t.Errorf("production holds %q, want what dev has tested: %q", got, tested)
	}

	const patched = "Hello World! I'm using the version 1.0, patched"
	s.commit("Patch", map[string]string{"index.html": strings.Replace(project.read(t, "index.html"), first, patched, 1)})
	s.runs(nil, toDev...)
	s.shows(s.world.Dev, patched)
	s.shows(s.world.Prod, first)
	before = s.production()
	if last := s.fails(3, nil, "production"); !strings.Contains(last, tested) || !strings.Contains(last, "(exit status 3)") {
		t.Errorf("the refusal says %q", last)
	}
	if !project.hasArtifact("production", "promote.json") || project.hasArtifact("production", "verify.xml") {
		t.Error("a production that was refused must report the refusal, and not dev's verdict")
	}
	s.untouched(before)
	s.runs(map[string]string{"FORCE_REPLACES": tested}, "production")
	s.shows(s.world.Prod, patched)
	if kept := s.digest(s.world.Production, "1.0-replaced-"+tested[len("sha256:"):][:8]); kept != tested {
		t.Errorf("the backup tag holds %q, want %q", kept, tested)
	}

	s.runs(nil, "rollback-prod")
	s.shows(s.world.Prod, first)
}

// TestADigestThatIsGone has the artifact of a patch's build expire before the button is pressed, when production runs what
// was there before.
func TestADigestThatIsGone(t *testing.T) {
	s := begin(t)
	s.runs(nil, toDev...)
	s.runs(nil, "production")
	s.commit("Patch", map[string]string{"index.html": strings.Replace(project.read(t, "index.html"), first, first+", patched", 1)})
	s.runs(nil, toDev...)
	if err := os.RemoveAll(filepath.Join(project.Dir, ".gitlab-ci-local/artifacts/build-image/.gitlab-ci-reports")); err != nil {
		t.Fatal(err)
	}
	before := s.production()
	last := s.fails(2, nil, "production")
	if !strings.Contains(last, "DIGEST is empty, and REQUIRE says that it must not be") {
		t.Errorf("the last line is %q", last)
	}
	s.untouched(before)
	s.shows(s.world.Prod, first)
}

// TestABuildThatFails has an instruction of the Dockerfile fail.
func TestABuildThatFails(t *testing.T) {
	s := begin(t)
	s.commit("Break it", map[string]string{"Dockerfile": "ARG BASE\nFROM ${BASE}\nCOPY index.html /srv/\n" +
		"RUN [\"/bin/stamp\", \"/no/such/folder/x\", \"1\"]\n"})
	last := s.fails(9, nil, "build-image")
	if !strings.Contains(last, `Dockerfile:4: RUN ["/bin/stamp"`) || !strings.Contains(last, "(exit status 9)") {
		t.Errorf("the last line is %q", last)
	}
}

// TestTheScriptGoesOnAfterABuild has other lines follow the build in the same script, and RUNs in two stages before them. The
// project has an after_script by default, which runs for the other jobs alone.
func TestTheScriptGoesOnAfterABuild(t *testing.T) {
	s := begin(t)
	s.commit("Two stages, and more script", map[string]string{
		"Dockerfile": "ARG BASE\nFROM ${BASE} AS one\nRUN [\"/bin/stamp\", \"/srv/one.txt\", \"1\"]\n" +
			"FROM ${BASE}\nCOPY index.html /srv/\nCOPY --from=one /srv/one.txt /srv/\n" +
			"RUN [\"/bin/stamp\", \"/srv/two.txt\", \"2\"]\nEXPOSE 8080\nENTRYPOINT [\"/bin/serve\", \"/srv\"]\n",
		".gitlab-ci.yml": project.read(t, ".gitlab-ci.yml") + "default:\n  after_script:\n    - echo the default after_script\n" +
			"build-image:\n  script:\n    - clone-build-push\n    - 'echo \"the image is $(sed -n s/^BUILT_IMAGE=//p .dockline/results.env)\"'\n",
	})
	out := s.runs(nil, toDev...)
	if !strings.Contains(out, "the image is deepsky/awl-deepsky-hello:develop-") {
		t.Errorf("the script did not go on:\n%s", out)
	}
	for _, name := range toDev {
		ran := regexp.MustCompile(`(?m)^` + name + ` +> the default after_script`).MatchString(out)
		if ran != (name != "build-image") {
			t.Errorf("%s runs the project's default after_script: %t\n%s", name, ran, out)
		}
	}
	s.shows(s.world.Dev, first)
}

// hasArtifact says whether a job's latest run has left a report.
func (p *Project) hasArtifact(job, report string) bool {
	_, err := os.Stat(filepath.Join(p.Dir, ".gitlab-ci-local/artifacts", job, ".dockline", report))
	return err == nil
}

// read reads a file of the project.
func (p *Project) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(p.Dir, path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
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
	if err := os.RemoveAll(p.Dir); err != nil { // of the scenario before
		return err
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
