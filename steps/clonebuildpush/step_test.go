package clonebuildpush

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
)

func TestRunBuildsAndPushes(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	s.mustRun("EXTRA_TAGS", "latest,stable", "BUILD_ARGS", "BASE=1", "LABELS", "team=blue", "BUILD_SECRET_NPM", "s3cr3t-npm",
		"REPORT_FILE", filepath.Join(s.resultDir, "report.json"))

	digest := s.digest("1.0")
	for _, tag := range []string{"commit-" + hash, "latest", "stable"} {
		if got := s.digest(tag); got != digest || got == "" {
			t.Errorf("tag %q is %q, want %q", tag, got, digest)
		}
	}
	for result, want := range map[string]string{
		"IMAGE_URL": s.registry + "/deepsky/hello:1.0", "IMAGE_DIGEST": digest, "COMMIT": hash,
		"BUILT_IMAGE": "deepsky/hello:1.0",
	} {
		if got := s.result(result); got != want {
			t.Errorf("result %s is %q, want %q", result, got, want)
		}
	}
	asked := s.builder.requests[0]
	if s.builder.page != "one" || string(asked.Dockerfile) != "FROM scratch\nCOPY page /page\n" {
		t.Errorf("built %q from %q", s.builder.page, asked.Dockerfile)
	}
	if diff := cmp.Diff(map[string]string{"BASE": "1"}, asked.BuildArgs); diff != "" {
		t.Errorf("build arguments (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string][]byte{"NPM": []byte("s3cr3t-npm")}, asked.Secrets); diff != "" {
		t.Errorf("build secrets (-want +got):\n%s", diff)
	}
	if asked.Labels[labelRevision] != hash || asked.Labels["team"] != "blue" || asked.Labels[labelVersion] != "" {
		t.Errorf("labels are %q", asked.Labels)
	}
	var told struct{ Details report }
	if err := json.Unmarshal([]byte(s.result("report.json")), &told); err != nil {
		t.Fatal(err)
	}
	if !told.Details.Built || told.Details.Digest != digest || told.Details.Branch != "develop" {
		t.Errorf("report is %+v", told.Details)
	}
	if _, err := os.Stat(asked.ContextDir); err == nil {
		t.Error("the clone was left behind")
	}
}

func TestATagTakesTheImageOfItsCommit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	s.mustRun("IMAGE", "deepsky/hello")
	tested := s.result("IMAGE_DIGEST")
	if err := gitserver.Tag(s.repo, "v1.0", hash, "Release"); err != nil {
		t.Fatal(err)
	}

	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	if len(s.builder.requests) != 1 {
		t.Errorf("%d builds, want that of the branch alone", len(s.builder.requests))
	}
	if got := s.digest("1.0"); got != tested || s.result("IMAGE_DIGEST") != tested {
		t.Errorf("1.0 is %q and the result %q, want what was tested: %q", got, s.result("IMAGE_DIGEST"), tested)
	}
	// The same again changes nothing, and neither does a hash with the tag's name, as a trigger gives it.
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", hash, "GIT_TAG", "v1.0")
	if len(s.builder.requests) != 1 || s.digest("1.0") != tested {
		t.Errorf("repeated: %d builds, 1.0 is %q", len(s.builder.requests), s.digest("1.0"))
	}
}

func TestATagDoesNotTakeAnotherCommitsImage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	s.mustRun("IMAGE", "deepsky/hello:one")
	hash := s.commit("two")
	s.mustRun("IMAGE", "deepsky/hello:0.1", "GIT_REVISION", "develop", "EXTRA_TAGS", "again")
	// Somebody moves the second commit's tag to the first commit's image.
	first, err := remote.Get(s.reference("hello", "one"), account)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(s.reference("hello", "commit-"+hash), first, account); err != nil {
		t.Fatal(err)
	}
	if err := gitserver.Tag(s.repo, "v1.0", hash, ""); err != nil {
		t.Fatal(err)
	}
	status, output := s.run("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	if status != 3 || !strings.Contains(output, first.Digest.String()) || !strings.Contains(output, "which says that it was built from") {
		t.Errorf("exit status %d:\n%s", status, output)
	}
	if s.digest("1.0") != "" || s.result("IMAGE_DIGEST") != "" {
		t.Error("the other commit's image was released")
	}
}

// TestAnotherPipelineIsFaster has somebody else write a tag right after the step has.
func TestAnotherPipelineIsFaster(t *testing.T) {
	t.Parallel()
	for tag, want := range map[string]int{"1.0": 3, "latest": 0} {
		t.Run(tag, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.env["REGISTRY"] = startRegistry(t, func(open http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/"+tag) {
						open.ServeHTTP(w, r)
						return
					}
					body, _ := io.ReadAll(r.Body)
					r.Body = io.NopCloser(bytes.NewReader(body))
					open.ServeHTTP(w, r)
					theirs := r.Clone(r.Context())
					theirs.Body = io.NopCloser(bytes.NewReader(append(body, '\n')))
					open.ServeHTTP(httptest.NewRecorder(), theirs)
				})
			})
			s.commit("one")
			status, output := s.run("EXTRA_TAGS", "latest")
			if status != want || !strings.Contains(output, "somebody else") {
				t.Errorf("exit status %d, want %d:\n%s", status, want, output)
			}
			if digest := s.result("IMAGE_DIGEST"); (digest == "") != (want != 0) {
				t.Errorf("handed on %q", digest)
			}
		})
	}
}

func TestATagIsBuiltWhenItsCommitHasNoImage(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	if err := gitserver.Tag(s.repo, "v1.0", hash, ""); err != nil {
		t.Fatal(err)
	}
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	if len(s.builder.requests) != 1 || s.digest("1.0") == "" || s.digest("commit-"+hash) != s.digest("1.0") {
		t.Errorf("%d builds, 1.0 is %q", len(s.builder.requests), s.digest("1.0"))
	}
	if version := s.builder.requests[0].Labels[labelVersion]; version != "1.0" {
		t.Errorf("version label is %q", version)
	}
}

func TestOverwrite(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, overwrite string
		tag                    bool
		status                 int
	}{
		{"a branch's version is replaced", "", false, 0},
		{"a branch's version is not replaced when that is forbidden", "false", false, 3},
		{"a release is not replaced", "", true, 3},
		{"a release is replaced when that is asked for", "true", true, 0},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.commit("one")
			s.mustRun()
			before := s.digest("1.0")
			hash := s.commit("two")
			revision := "develop"
			if test.tag {
				revision = "v1.0"
				if err := gitserver.Tag(s.repo, revision, hash, ""); err != nil {
					t.Fatal(err)
				}
			}
			status, output := s.run("OVERWRITE", test.overwrite, "GIT_REVISION", revision)
			if status != test.status {
				t.Errorf("exit status %d, want %d:\n%s", status, test.status, output)
			}
			if moved := s.digest("1.0") != before; moved != (test.status == 0) {
				t.Errorf("1.0 moved: %t\n%s", moved, output)
			}
			if test.status == 3 {
				if len(s.builder.requests) != 1 {
					t.Error("it was built in vain")
				}
				if s.result("IMAGE_DIGEST") != "" || !strings.Contains(output, "OVERWRITE=true") || !strings.Contains(output, before) {
					t.Errorf("results left, or no hint:\n%s", output)
				}
			}
		})
	}
}

func TestWrongInput(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	if _, err := gitserver.Commit(s.repo, "broken", "Broken", gitserver.Files{
		"Dockerfile": {Content: "FROM scratch\nCOPY x /x\nRUN --network=none true\n"}, "out": gitserver.Link("/"),
		"malformed": {Content: "FROM scratch\nRUM x\n"},
	}); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		description string
		status      int
		text        string
		changes     []string
	}{
		{"no image", 2, "IMAGE is missing", []string{"IMAGE", ""}},
		{"a host in the image", 2, "looks like a registry's host", []string{"IMAGE", "registry.example.com/deepsky/hello:1.0"}},
		{"nothing to build", 2, "GIT_URL is missing, and so is SOURCE_DIR", []string{"GIT_URL", ""}},
		{"two things to build", 2, "GIT_URL and SOURCE_DIR are both set", []string{"SOURCE_DIR", "/src"}},
		{"a password in the URL", 2, "credentials", []string{"GIT_URL", "https://release:" + gitPassword + "@git.example.com/x.git"}},
		{"an option for an address", 2, "it begins with a dash", []string{"GIT_URL", "--upload-pack=touch"}},
		{"a program for an address", 2, "remote helpers are not supported", []string{"GIT_URL", "ext::sh"}},
		{"a path for an address", 2, "local repositories are not allowed here (GIT_ALLOW_LOCAL)", []string{"GIT_URL", s.repo}},
		{"a file's address", 2, "local repositories are not allowed here (GIT_ALLOW_LOCAL)", []string{"GIT_URL", "file://" + s.repo}},
		{"another executor, by a relative path", 2, `KANIKO_EXECUTOR: "executor" is not an absolute path`, []string{"KANIKO_EXECUTOR", "executor"}},
		{"another executor, and a build secret", 2, "BUILD_SECRET_NPM and KANIKO_EXECUTOR are both set", []string{"KANIKO_EXECUTOR", "/kaniko/executor", "BUILD_SECRET_NPM", "a-secret-of-npm"}},
		{"a context outside", 2, "leaves the repository", []string{"CONTEXT_DIR", "../x"}},
		{"a revision label", 2, "cannot be set", []string{"LABELS", labelRevision + "=x"}},
		{"another executor, and annotations", 2, "ANNOTATIONS and KANIKO_EXECUTOR are both set", []string{"KANIKO_EXECUTOR", "/kaniko/executor", "ANNOTATIONS", "a=b"}},
		{"another executor, and a cache", 2, "CACHE_REPO and KANIKO_EXECUTOR are both set", []string{"KANIKO_EXECUTOR", "/kaniko/executor", "CACHE_REPO", "deepsky/cache"}},
		{"another executor, and media types", 2, "MEDIA_TYPES and KANIKO_EXECUTOR are both set", []string{"KANIKO_EXECUTOR", "/kaniko/executor", "MEDIA_TYPES", "oci"}},
		{"another executor, and platforms", 2, "PLATFORMS and KANIKO_EXECUTOR are both set", []string{"KANIKO_EXECUTOR", "/kaniko/executor", "PLATFORMS", "linux/amd64,linux/arm64"}},
		{"an index of Docker images", 2, "PLATFORMS is set, and MEDIA_TYPES is docker", []string{"MEDIA_TYPES", "docker", "PLATFORMS", "linux/amd64,linux/arm64"}},
		{"mirrors that are none", 2, "REGISTRY_MIRRORS: a list of HOST=ADDRESS is wanted", []string{"REGISTRY_MIRRORS", "mirror.example.com"}},
		{"a mirror with an account", 2, "REGISTRY_MIRRORS: a list of HOST=ADDRESS is wanted, without credentials", []string{"REGISTRY_MIRRORS", "docker.io=a:" + gitPassword + "@mirror.example.com"}},
		{"a mirror of a part", 2, `REGISTRY_MIRRORS: "docker.io/library" has a path`, []string{"REGISTRY_MIRRORS", "docker.io/library=mirror.example.com"}},
		{"a mirror of itself", 2, `REGISTRY_MIRRORS: "docker.io" is its own mirror`, []string{"REGISTRY_MIRRORS", "docker.io=index.docker.io"}},
		{"a mirror by a URL", 2, "a scheme does not belong here", []string{"REGISTRY_MIRRORS", "docker.io=https://mirror.example.com"}},
		{"a mirror twice", 2, `REGISTRY_MIRRORS: "m.example.com:443" is named twice for "docker.io"`, []string{"REGISTRY_MIRRORS", "docker.io=m.example.com docker.io=m.example.com:443"}},
		{"annotations that are none", 2, "ANNOTATIONS: a list of NAME=VALUE", []string{"ANNOTATIONS", "x"}},
		{"annotations of a Docker image", 2, "only OCI's manifests have annotations", []string{"ANNOTATIONS", "a=b", "MEDIA_TYPES", "docker"}},
		{"other media types", 2, `MEDIA_TYPES: "zip" is neither oci nor docker`, []string{"MEDIA_TYPES", "zip"}},
		{"a cache with a version", 2, `CACHE_REPO: "deepsky/cache:1" has a version`, []string{"CACHE_REPO", "deepsky/cache:1"}},
		{"a negative age", 2, "CACHE_TTL: -1h0m0s is negative", []string{"CACHE_TTL", "-1h"}},
		{"a wrong registry", 6, "REGISTRY", []string{"REGISTRY", "127.0.0.1:1"}},
		{"a wrong password", 5, "REGISTRY_PASSWORD", []string{"REGISTRY_PASSWORD", "wrong-password"}},
		{"a wrong Git password", 5, "GIT_PASSWORD", []string{"GIT_PASSWORD", "wrong-password"}},
		{"a revision that does not exist", 4, `resolving "nope"`, []string{"GIT_REVISION", "nope"}},
		{"no such context", 9, "CONTEXT_DIR", []string{"CONTEXT_DIR", "hello_v9"}},
		{"a context that leaves by a link", 9, "leaves the work tree", []string{"CONTEXT_DIR", "out", "GIT_REVISION", "broken"}},
		{"no such Dockerfile", 9, `no file "Nope"`, []string{"DOCKERFILE", "Nope"}},
		{"what Kaniko would ignore", 9, "Dockerfile:3: RUN --network", []string{"CONTEXT_DIR", ".", "GIT_REVISION", "broken"}},
		{"a malformed Dockerfile", 9, "malformed:2: unknown instruction", []string{"CONTEXT_DIR", ".", "DOCKERFILE", "malformed", "GIT_REVISION", "broken"}},
	} {
		t.Run(test.description, func(t *testing.T) {
			results := t.TempDir()
			if err := os.WriteFile(filepath.Join(results, "IMAGE_DIGEST"), []byte("stale"), 0o600); err != nil {
				t.Fatal(err)
			}
			status, output := s.run(append(test.changes, "RESULTS_DIR", results)...)
			lines := strings.Split(strings.TrimSpace(output), "\n")
			if status != test.status || !strings.Contains(lines[len(lines)-1], test.text) {
				t.Errorf("exit status %d, want %d, with %q in the last line:\n%s", status, test.status, test.text, output)
			}
			if entries, _ := os.ReadDir(results); len(entries) > 0 && test.status != 2 {
				t.Errorf("results were left: %v", entries)
			}
			if len(s.builder.requests) > 0 {
				t.Error("something was built")
			}
		})
	}
}

// TestAnAccountThatMayOnlyReadIsFoundOutFirst: nothing is cloned for it, and nothing built.
func TestAnAccountThatMayOnlyReadIsFoundOutFirst(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	var sessions atomic.Int32
	s.env["REGISTRY"] = startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet || r.Method == http.MethodHead {
				next.ServeHTTP(w, r)
				return
			}
			sessions.Add(1)
			w.WriteHeader(http.StatusForbidden)
		})
	})
	status, output := s.run("GIT_REVISION", "not-even-looked-for")
	if status != 5 || !strings.Contains(output, `asking whether "`+s.env["REGISTRY"]+`/deepsky/hello" may be written to`) {
		t.Errorf("exit status %d:\n%s", status, output)
	}
	if sessions.Load() != 1 || len(s.builder.requests) > 0 {
		t.Errorf("%d requests to write, %d builds", sessions.Load(), len(s.builder.requests))
	}
}

func TestBuildsAWorkTree(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	dir := filepath.Join(t.TempDir(), "tree")
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\n", "page": "here", ".dockerignore": "*.md\n"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// As GitLab sets them: the work tree, the commit and the branch.
	s.mustRun("GIT_URL", "", "GIT_REVISION", "", "CONTEXT_DIR", "", "IMAGE", "deepsky/hello",
		"CI_PROJECT_DIR", dir, "CI_COMMIT_SHA", hash, "CI_COMMIT_BRANCH", "main", "CI_PROJECT_URL", "https://gitlab.example.com/x")
	asked := s.builder.requests[0]
	if s.builder.page != "here" || string(asked.Ignore) != "*.md\n" || !cmp.Equal(asked.Exclude, []string{"**/.git"}) {
		t.Errorf("built %q, ignoring %q and %q", s.builder.page, asked.Ignore, asked.Exclude)
	}
	if s.digest("main-"+hash[:8]) == "" || s.result("COMMIT") != hash || asked.Labels[labelSource] != "https://gitlab.example.com/x" {
		t.Errorf("commit %q, labels %q", s.result("COMMIT"), asked.Labels)
	}
	if _, err := os.Stat(filepath.Join(dir, "page")); err != nil {
		t.Errorf("the work tree was removed: %v", err)
	}
}

// TestBuildsALocalRepository does so only where that is allowed.
func TestBuildsALocalRepository(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	s.mustRun("GIT_URL", s.repo, "GIT_ALLOW_LOCAL", "true")
	if s.result("COMMIT") != hash || s.builder.page != "one" {
		t.Errorf("built %q of commit %q", s.builder.page, s.result("COMMIT"))
	}
}

// TestRepetitionsAreTold has a registry that is away once for each side, and the words that every step has for it.
func TestRepetitionsAreTold(t *testing.T) {
	t.Parallel()
	var own, base atomic.Bool
	s := newStage(t)
	s.registry = startRegistry(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			for part, away := range map[string]*atomic.Bool{"/hello/": &own, "/base/": &base} {
				if strings.Contains(r.URL.Path, part) && !away.Swap(true) {
					w.WriteHeader(http.StatusServiceUnavailable)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	})
	s.env["REGISTRY"] = s.registry
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(s.registry + "/deepsky/base:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image, remote.WithAuth(&authn.Basic{Username: "pusher", Password: registryPassword})); err != nil {
		t.Fatal(err)
	}
	base.Store(false)
	if _, err := gitserver.Commit(s.repo, "develop", "Page", gitserver.Text(map[string]string{
		"hello_v1.0/Dockerfile": "FROM " + s.registry + "/deepsky/base:1\nCOPY page /page\n", "hello_v1.0/page": "one",
	})); err != nil {
		t.Fatal(err)
	}
	status, output := s.run()
	for _, side := range []string{"registry", `"base image registry"`} {
		told := 0
		for line := range strings.Lines(output) {
			if strings.Contains(line, "WRN trying again (2 of 6) in ") && strings.HasSuffix(strings.TrimSpace(line), " side="+side) {
				told++
			}
		}
		if status != 0 || told != 1 {
			t.Errorf("exit status %d; %d repetitions are told of the side %s:\n%s", status, told, side, output)
		}
	}
}
