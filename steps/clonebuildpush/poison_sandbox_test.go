package clonebuildpush

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/gitserver"
)

// TestNobodyPoisonsTheCache has hostile builds share CACHE_REPO with another build, whose RUN they have too: each with
// something else before it, or after. What they leave is under keys that the other build does not ask for, or nothing.
func TestNobodyPoisonsTheCache(t *testing.T) {
	t.Parallel()
	const victim = "ARG BASE\nFROM $BASE\nRUN [\"/bin/stamp\", \"/srv/one\", \"1\"]\n"
	s, _ := newRealStage(t, map[string]string{"Dockerfile": victim, "page": "hello"})
	compiled, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	good, err := remote.Image(s.reference("web", "1"), account)
	if err != nil {
		t.Fatal(err)
	}
	// Its stamp is a program that ends well, and writes nothing.
	evil, err := baseimage.Pack(
		baseimage.File{Path: "/bin/stamp", Content: compiled["probe"]},
		baseimage.File{Path: "/srv/version.txt", Mode: 0o644, Content: []byte("evil\n")},
	)
	if err != nil {
		t.Fatal(err)
	}
	build := func(branch, tag string, changes map[string]string) (status int, output string) {
		all := map[string]string{
			"CONTEXT_DIR": "", "GIT_REVISION": branch, "IMAGE": "deepsky/hello:" + tag, "CACHE_REPO": "deepsky/cache",
			"BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1", "LOG_LEVEL": "debug",
		}
		maps.Copy(all, changes)
		return s.runInSandbox(nil, t.TempDir(), all)
	}

	if err := remote.Write(s.reference("web", "1"), evil, account); err != nil {
		t.Fatal(err)
	}
	if status, output := build("develop", "evil-base", nil); status != 0 || !strings.Contains(output, "kept layers for later builds layers=1") {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	if err := remote.Write(s.reference("web", "1"), good, account); err != nil { // under the same tag
		t.Fatal(err)
	}
	const run = "RUN [\"/bin/stamp\", \"/srv/one\", \"1\"]\n"
	for _, hostile := range []struct {
		branch, dockerfile string
		status             int
		says               string
	}{
		{"an-earlier-stage", "ARG BASE\nFROM $BASE AS evil\nRUN [\"/bin/stamp\", \"/srv/evil\"]\nFROM $BASE\nCOPY --from=evil /bin/probe /bin/stamp\n" + run, 0, "layers=2"},
		{"a-mount", "ARG BASE\nFROM $BASE\nRUN --mount=type=bind,source=page,target=/srv/one,rw [\"/bin/stamp\", \"/srv/one\", \"1\"]\n", 0, "layers=1"},
		{"a-variable", "ARG BASE\nFROM $BASE\nENV EVIL=1\n" + run, 0, "layers=1"},
		// This one has the key of the other build, and replaces what is kept under it.
		{"a-later-run", "ARG BASE\nFROM $BASE\n" + run + "RUN [\"/bin/sabotage\", \"layers\"]\n", 9, "REPLACED 1"},
	} {
		if _, err := gitserver.Commit(s.repo, hostile.branch, "Hostile", gitserver.Text(map[string]string{"Dockerfile": hostile.dockerfile, "page": "hello"})); err != nil {
			t.Fatal(err)
		}
		status, output := build(hostile.branch, hostile.branch, nil)
		if status != hostile.status || !strings.Contains(output, hostile.says) {
			t.Fatalf("%s: exit status %d, want %d with %q:\n%s", hostile.branch, status, hostile.status, hostile.says, output)
		}
	}

	for number, tag := range []string{"1.0", "1.1"} {
		status, output := build("develop", tag, nil)
		if hits := strings.Count(output, "Using the cached layer of"); status != 0 || hits != number {
			t.Errorf("%s: exit status %d, %d hits, want %d:\n%s", tag, status, hits, number, output)
		}
		if _, content := s.pushed(tag); content["srv/one"] != "1\n" || content["srv/version.txt"] != "none\n" {
			t.Errorf("%s: /srv/one is %q, on the base image %q", tag, content["srv/one"], content["srv/version.txt"])
		}
	}
}
