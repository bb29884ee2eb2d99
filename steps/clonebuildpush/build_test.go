package clonebuildpush

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/baseimage"
	"dockline/e2e/gitserver"
	"dockline/e2e/sandbox"
	"dockline/pkg/kaniko"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

// The programs of the real builds, each compiled once.
var programs = sync.OnceValues(func() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, pkg := range []string{"cmd/clone-build-push", "e2e/baseimage/stamp", "e2e/baseimage/sabotage", "e2e/probe"} {
		program, err := baseimage.Program(context.Background(), "dockline/"+pkg)
		if err != nil {
			return nil, err
		}
		out[filepath.Base(pkg)] = program
	}
	return out, nil
})

var account = remote.WithAuth(&authn.Basic{Username: "pusher", Password: registryPassword})

// newRealStage is a stage whose registry has a base image, with the programs stamp, sabotage and probe, and files that are
// cloned from the Git server.
func newRealStage(t *testing.T, files map[string]string) (*stage, string) {
	t.Helper()
	requireSandbox(t)
	s := newStage(t)
	return s, s.fill("develop", files)
}

// fill gives the registry the base image, and the Git server a commit with files.
func (s *stage) fill(branch string, files map[string]string) (hash string) {
	s.t.Helper()
	compiled, err := programs()
	if err != nil {
		s.t.Fatal(err)
	}
	base, err := baseimage.Pack(
		baseimage.File{Path: "/bin/stamp", Content: compiled["stamp"]},
		baseimage.File{Path: "/bin/sabotage", Content: compiled["sabotage"]},
		baseimage.File{Path: "/bin/probe", Content: compiled["probe"]},
		baseimage.File{Path: "/srv/version.txt", Mode: 0o644, Content: []byte("none\n")},
	)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.Write(s.reference("web", "1"), base, account); err != nil {
		s.t.Fatal(err)
	}
	hash, err = gitserver.Commit(s.repo, branch, "To be built", gitserver.Text(files))
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

func (s *stage) reference(image, tag string) name.Reference {
	s.t.Helper()
	reference, err := name.ParseReference(s.registry+"/deepsky/"+image+":"+tag, name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	return reference
}

// pushed reads deepsky/hello back from the registry: the image, and its files by path.
func (s *stage) pushed(tag string) (v1.Image, map[string]string) {
	s.t.Helper()
	image, err := remote.Image(s.reference("hello", tag), account)
	if err != nil {
		s.t.Fatal(err)
	}
	content := extract(s.t, mutate.Extract(image))
	for path, text := range content {
		if strings.Contains(text, registryPassword) || strings.Contains(text, gitPassword) || strings.Contains(path, ".git") {
			s.t.Errorf("%s does not belong into the image", path)
		}
	}
	return image, content
}

// TestRealBuildOfTheSampleService clones, builds and pushes both versions of the sample service with the real program
// in a sandbox: the base image comes from the registry with the password, and the image goes back there.
func TestRealBuildOfTheSampleService(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for _, path := range []string{"hello_v1.0/Dockerfile", "hello_v1.0/index.html", "hello_v1.1/Dockerfile", "hello_v1.1/index.html"} {
		text, err := os.ReadFile(filepath.Join("..", "..", "e2e", "hello", path))
		if err != nil {
			t.Fatal(err)
		}
		files[path] = string(text)
	}
	s, hash := newRealStage(t, files)
	for version, want := range map[string]string{
		"1.0": "Hello World! I'm using the version 1.0", "1.1": "Hello World! I'm using version 1.1.",
	} {
		results := t.TempDir()
		status, output := s.runInSandbox(nil, results, map[string]string{
			"IMAGE": "deepsky/hello:" + version, "CONTEXT_DIR": "hello_v" + version,
			"BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
		})
		if status != 0 {
			t.Fatalf("exit status %d:\n%s", status, output)
		}
		image, content := s.pushed(version)
		if !strings.Contains(content["srv/index.html"], want) || content["srv/version.txt"] != version+"\n" {
			t.Errorf("%s: page %q, stamp %q", version, content["srv/index.html"], content["srv/version.txt"])
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got := config.Config.Labels[labelRevision]; got != hash {
			t.Errorf("%s: revision label is %q, want %q", version, got, hash)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		if written := readResult(results, "IMAGE_DIGEST"); written != digest.String() {
			t.Errorf("%s: result is %q, want %q", version, written, digest)
		}
	}
}

// TestRealManifests has annotations, and media types of either kind, whatever those of the base image are.
func TestRealManifests(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE\nCOPY page /srv/\n"})
	for _, row := range []struct {
		version     string
		base        string
		changes     map[string]string
		mediaType   types.MediaType
		layers      types.MediaType
		annotations map[string]string
	}{
		{"1.0", "web:1", nil, types.OCIManifestSchema1, types.OCILayer, nil},
		{"1.1", "web:1", map[string]string{"MEDIA_TYPES": "docker"}, types.DockerManifestSchema2, types.DockerLayer, nil},
		{"1.2", "hello:1.1", nil, types.DockerManifestSchema2, types.DockerLayer, nil},
		{
			"1.3", "hello:1.1", map[string]string{"ANNOTATIONS": "a=b, c and d,e=f"},
			types.OCIManifestSchema1, types.OCILayer, map[string]string{"a": "b, c and d", "e": "f"},
		},
	} {
		changes := map[string]string{
			"CONTEXT_DIR": "", "IMAGE": "deepsky/hello:" + row.version, "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/" + row.base,
		}
		maps.Copy(changes, row.changes)
		if status, output := s.runInSandbox(nil, t.TempDir(), changes); status != 0 {
			t.Fatalf("exit status %d:\n%s", status, output)
		}
		image, _ := s.pushed(row.version)
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		if manifest.MediaType != row.mediaType {
			t.Errorf("%s is of %s", row.version, manifest.MediaType)
		}
		for _, layer := range manifest.Layers {
			if layer.MediaType != row.layers {
				t.Errorf("%s has a layer of %s", row.version, layer.MediaType)
			}
		}
		if diff := cmp.Diff(row.annotations, manifest.Annotations); diff != "" {
			t.Errorf("%s: annotations (-want +got)\n%s", row.version, diff)
		}
	}
}

// TestRealCache builds three times with a cache. The second build executes no RUN that the first has executed, and makes
// the same files; one whose instructions before a RUN differ executes it.
func TestRealCache(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{
		"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE AS one\nARG WORD=none\nCOPY page /srv/\nRUN [\"/bin/stamp\", \"/srv/one\", \"1\"]\n" +
			"FROM $BASE\nCOPY --from=one /srv/one /srv/\nRUN [\"/bin/stamp\", \"/srv/two\", \"2\"]\nRUN [\"/bin/stamp\", \"/srv/three\", \"3\"]\n",
	})
	for _, row := range []struct {
		version string
		changes map[string]string
		hits    int
		kept    string
	}{
		{"1.0", nil, 0, "layers=3"},
		{"1.1", nil, 3, ""},
		{"1.2", map[string]string{"BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1,WORD=other"}, 0, "layers=3"},
		{"1.3", map[string]string{"CACHE_TTL": "1ns"}, 0, "layers=3"},
	} {
		changes := map[string]string{
			"CONTEXT_DIR": "", "IMAGE": "deepsky/hello:" + row.version, "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
			"CACHE_REPO": "deepsky/cache", "LOG_LEVEL": "debug",
		}
		maps.Copy(changes, row.changes)
		status, output := s.runInSandbox(nil, t.TempDir(), changes)
		if status != 0 {
			t.Fatalf("%s: exit status %d:\n%s", row.version, status, output)
		}
		if hits := strings.Count(output, "Using the cached layer of"); hits != row.hits || strings.Contains(output, "kept layers") != (row.kept != "") || !strings.Contains(output, row.kept) {
			t.Errorf("%s: %d hits, want %d, and %q:\n%s", row.version, hits, row.hits, row.kept, output)
		}
		_, content := s.pushed(row.version)
		for path, want := range map[string]string{"srv/one": "1\n", "srv/two": "2\n", "srv/three": "3\n"} {
			if content[path] != want {
				t.Errorf("%s: %s is %q", row.version, path, content[path])
			}
		}
	}
}

// TestRealBuildsSayWhatBuildKitWouldSay has what Kaniko's own executor would build differently.
func TestRealBuildsSayWhatBuildKitWouldSay(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{"page": "hello", "Dockerfile": strings.Join([]string{
		"ARG BASE",
		"FROM $BASE",
		`SHELL ["/bin/stamp", "/srv/script.txt"]`,
		"RUN <<'EOF'",
		"x=1; echo $x `y` \\z",
		"EOF",
		"ENV NAME=environment",
		"ARG NAME=argument",
		"COPY page /srv/$NAME.txt",
		"COPY <<'END' /srv/literal.txt",
		"$NAME",
		"END",
	}, "\n") + "\n"})
	status, output := s.runInSandbox(nil, t.TempDir(), map[string]string{
		"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
	})
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	_, content := s.pushed("1.0")
	for path, want := range map[string]string{
		"srv/script.txt": "x=1; echo $x `y` \\z\n\n", "srv/argument.txt": "hello", "srv/literal.txt": "$NAME\n",
	} {
		if content[path] != want {
			t.Errorf("%s is %q, want %q", path, content[path], want)
		}
	}
}

// TestLinksOfTheContextStayInIt: a repository may hold any link, and none brings a file of the container into the image.
func TestLinksOfTheContextStayInIt(t *testing.T) {
	t.Parallel()
	const outside = "what-only-the-container-has"
	s, _ := newRealStage(t, map[string]string{})
	for branch, dockerfile := range map[string]string{
		"copied":     "COPY file /srv/\nCOPY folder /srv/folder\n",
		"by pattern": "COPY f* /srv/\n",
		"added":      "ADD file folder /srv/\n",
		"all":        "COPY . /srv/\n",
		"through":    "COPY out/etc/outside /srv/\n",
	} {
		branch = strings.ReplaceAll(branch, " ", "-")
		if _, err := gitserver.Commit(s.repo, branch, "Links", gitserver.Files{
			"Dockerfile": {Content: "FROM " + s.registry + "/deepsky/web:1\n" + dockerfile},
			"file":       gitserver.Link("/etc/outside"), "folder/up": gitserver.Link("../../../../../etc/outside"),
			"folder/all": gitserver.Link("/etc"), "out": gitserver.Link("/"),
		}); err != nil {
			t.Fatal(err)
		}
		status, output := s.runInSandbox(nil, t.TempDir(), map[string]string{
			"CONTEXT_DIR": "", "GIT_REVISION": branch, "IMAGE": "deepsky/hello:" + branch,
		}, func(spec *sandbox.Spec) { spec.Files["/etc/outside"] = outside })
		if branch != "all" { // which copies the links themselves; one that is named is followed, and only within the context
			if status != 9 || !strings.Contains(lastLineOf(output), "the build context has no file ") {
				t.Errorf("%s: exit status %d:\n%s", branch, status, output)
			}
			continue
		}
		if status != 0 {
			t.Errorf("%s: exit status %d:\n%s", branch, status, output)
			continue
		}
		_, content := s.pushed(branch)
		for path, text := range content {
			if strings.Contains(text, outside) {
				t.Errorf("%s: a file of the container is in the image, as %s", branch, path)
			}
		}
	}
}

func TestRealBuildThatFailsInItsThirdInstruction(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{
		"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE\nCOPY page /srv/\nRUN [\"/bin/stamp\", \"/no/such/dir/x\"]\n",
	})
	results := t.TempDir()
	status, output := s.runInSandbox(nil, results, map[string]string{
		"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
	})
	lines := strings.Split(strings.TrimSpace(output), "\n")
	if last := lines[len(lines)-1]; status != 9 || !strings.Contains(last, "Dockerfile:4: RUN") || !strings.Contains(last, "exit status 1") {
		t.Errorf("exit status %d:\n%s", status, output)
	}
	if s.digest("1.0") != "" || readResult(results, "IMAGE_DIGEST") != "" {
		t.Error("a failed build left an image or a result")
	}
}

// longestBuild is how long a build may take: some seconds, but on a machine that does much else.
const longestBuild = 5 * time.Minute

// runInSandbox runs args, by default the program alone, as a container engine would run our image. It returns the exit
// status and what was written.
func (s *stage) runInSandbox(args []string, results string, changes map[string]string, alter ...func(*sandbox.Spec)) (int, string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), longestBuild)
	defer cancel()
	command := s.inSandbox(ctx, args, results, changes, alter...)
	output, err := command.CombinedOutput()
	if ctx.Err() != nil {
		s.t.Fatalf("it has not ended after %v:\n%s", longestBuild, output)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if strings.Contains(string(output), registryPassword) || strings.Contains(string(output), gitPassword) {
		s.t.Errorf("the output shows a secret:\n%s", output)
	}
	return command.ProcessState.ExitCode(), string(output)
}

// inSandbox returns the command for runInSandbox.
func (s *stage) inSandbox(
	ctx context.Context, args []string, results string, changes map[string]string, alter ...func(*sandbox.Spec),
) *exec.Cmd {
	s.t.Helper()
	compiled, err := programs()
	if err != nil {
		s.t.Fatal(err)
	}
	if args == nil {
		args = []string{"/kaniko/bin/clone-build-push"}
	}
	ca, err := os.ReadFile(s.env["GIT_CA_FILE"])
	if err != nil {
		s.t.Fatal(err)
	}
	spec := sandbox.Spec{
		Args:     args,
		Programs: map[string]string{},
		Files:    map[string]string{kaniko.Marker: "", "/kaniko/git-ca.pem": string(ca)},
		Binds:    map[string]string{"/results": results},
	}
	outside := s.t.TempDir()
	for _, name := range []string{"clone-build-push", "probe", "sabotage"} {
		path := filepath.Join(outside, name)
		if err := os.WriteFile(path, compiled[name], 0o700); err != nil { //nolint:gosec // it is to be run
			s.t.Fatal(err)
		}
		spec.Programs["/kaniko/bin/"+name] = path
	}
	environment := map[string]string{}
	for _, from := range []map[string]string{s.env, {
		"KANIKO_DIR": kaniko.Dir, "RESULTS_DIR": "/results", "GIT_CA_FILE": "/kaniko/git-ca.pem", "HOME": "/root",
	}, changes} {
		for name, value := range from {
			environment[name] = value
		}
	}
	for name, value := range environment {
		spec.Env = append(spec.Env, name+"="+value)
	}
	for _, change := range alter {
		change(&spec)
	}
	box, err := sandbox.New(s.t.TempDir(), spec)
	if err != nil {
		s.t.Fatal(err)
	}
	command, err := box.Command(ctx)
	if err != nil {
		s.t.Fatal(err)
	}
	return command
}

func requireSandbox(t *testing.T) {
	t.Helper()
	err := sandbox.Available()
	if err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skipf("NO REAL BUILD IS TESTED: %v", err)
}

func readResult(dir, name string) string {
	text, _ := os.ReadFile(filepath.Join(dir, name))
	return string(text)
}

// extract reads a flattened image: path to content.
func extract(t *testing.T, from io.ReadCloser) map[string]string {
	t.Helper()
	defer from.Close()
	out := map[string]string{}
	for archive := tar.NewReader(from); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		out[header.Name] = string(text)
	}
}
