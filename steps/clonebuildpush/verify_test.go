package clonebuildpush

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
	"dockline/pkg/git"
)

// signedStage is a stage whose last commit is signed, and the keys to check that with.
func signedStage(t *testing.T) (s *stage, hash, keys string) {
	t.Helper()
	s = newStage(t)
	s.commit("one")
	signer, err := gitserver.SSH("release@example.com", "git")
	if err != nil {
		t.Fatal(err)
	}
	hash, err = gitserver.SignCommit(s.repo, "develop", signer)
	if err != nil {
		t.Fatal(err)
	}
	return s, hash, signer.Public
}

// refused wants a run to have ended with status 3 and this in its last line, with nothing built, pushed or handed on.
func (s *stage) refused(status int, output, text string) {
	s.t.Helper()
	if status != 3 || !strings.Contains(lastLineOf(output), text) {
		s.t.Errorf("exit status %d, want 3, with %q in the last line:\n%s", status, text, output)
	}
	if s.result("IMAGE_DIGEST") != "" {
		s.t.Error("a result is there")
	}
}

func TestGitVerify(t *testing.T) {
	t.Parallel()
	s, hash, keys := signedStage(t)
	reportFile := filepath.Join(t.TempDir(), "report.json")
	s.mustRun("GIT_VERIFY", "commit", "GIT_VERIFY_KEYS", keys, "REPORT_FILE", reportFile)
	var told struct{ Details report }
	text, err := os.ReadFile(reportFile)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &told); err != nil {
		t.Fatal(err)
	}
	if s.result("COMMIT") != hash || !strings.HasPrefix(told.Details.Signer, "release@example.com (SHA256:") {
		t.Errorf("commit %q, signed by %q", s.result("COMMIT"), told.Details.Signer)
	}

	file := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(file, []byte(keys), 0o600); err != nil {
		t.Fatal(err)
	}
	status, output := s.run("GIT_VERIFY", "tag", "GIT_VERIFY_KEYS_FILE", file)
	s.refused(status, output, "the revision names no tag. Hint: have it signed with a key of GIT_VERIFY_KEYS (git commit -S, git tag -s), or mend that list (exit status 3)")
	s.commit("two")
	status, output = s.run("GIT_VERIFY", "commit", "GIT_VERIFY_KEYS_FILE", file)
	s.refused(status, output, "it is not signed")
	if len(s.builder.requests) != 1 {
		t.Errorf("%d builds, want that of the signed commit alone", len(s.builder.requests))
	}
}

func TestWrongGitVerify(t *testing.T) {
	t.Parallel()
	s, _, keys := signedStage(t)
	for _, test := range []struct {
		description, text string
		changes           []string
	}{
		{"an unknown object", `GIT_VERIFY: "both" is neither commit nor tag`, []string{"GIT_VERIFY", "both", "GIT_VERIFY_KEYS", keys}},
		{"no keys", "GIT_VERIFY_KEYS is missing: GIT_VERIFY is set", []string{"GIT_VERIFY", "commit"}},
		{"keys for nothing", "GIT_VERIFY is missing", []string{"GIT_VERIFY_KEYS", keys}},
		{"a file for nothing", "GIT_VERIFY is missing", []string{"GIT_VERIFY_KEYS_FILE", "/keys"}},
		{"keys twice", "GIT_VERIFY_KEYS and GIT_VERIFY_KEYS_FILE are both set", []string{"GIT_VERIFY", "tag", "GIT_VERIFY_KEYS", keys, "GIT_VERIFY_KEYS_FILE", "/keys"}},
		{"no key in them", "GIT_VERIFY_KEYS: line 1: it is no line of an allowed_signers file", []string{"GIT_VERIFY", "tag", "GIT_VERIFY_KEYS", "hello"}},
		{"no such file", "GIT_VERIFY_KEYS_FILE: open /no/such/file", []string{"GIT_VERIFY", "tag", "GIT_VERIFY_KEYS_FILE", "/no/such/file"}},
		{"no key in the file", "GIT_VERIFY_KEYS_FILE: there is no key in it", []string{"GIT_VERIFY", "tag", "GIT_VERIFY_KEYS_FILE", "/dev/null"}},
		{"a tag for a branch", "GIT_TAG is set, and GIT_REVISION is neither the full hash of its commit nor that tag", []string{"GIT_TAG", "v1.0"}},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			status, output := s.run(append(test.changes, "RESULTS_DIR", t.TempDir())...)
			if status != 2 || !strings.Contains(lastLineOf(output), test.text) {
				t.Errorf("exit status %d, want 2, with %q in the last line:\n%s", status, test.text, output)
			}
		})
	}
}

// TestGitVerifyOfAWorkTree: what GitLab has checked out is built when it is what was signed, whole.
func TestGitVerifyOfAWorkTree(t *testing.T) {
	t.Parallel()
	s, hash, keys := signedStage(t)
	dir := filepath.Join(t.TempDir(), "tree")
	if _, err := git.Clone(t.Context(), git.Options{URL: s.repo, Revision: hash, Dir: dir, AllowLocal: true, KeepGitDir: true}); err != nil {
		t.Fatal(err)
	}
	inGitLab := []string{
		"GIT_URL", "", "GIT_REVISION", "", "CI_PROJECT_DIR", dir, "CI_COMMIT_SHA", hash, "CI_COMMIT_BRANCH", "develop",
		"GIT_VERIFY", "commit", "GIT_VERIFY_KEYS", keys,
	}
	s.mustRun(inGitLab...)
	if s.result("COMMIT") != hash || len(s.builder.requests) != 1 {
		t.Errorf("commit %q, %d builds", s.result("COMMIT"), len(s.builder.requests))
	}
	if err := os.WriteFile(filepath.Join(dir, "hello_v1.0", "added"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	status, output := s.run(inGitLab...)
	s.refused(status, output, fmt.Sprintf(`the work tree is not that of the signed commit %s: "hello_v1.0/added" was added`, hash))
	if err := os.RemoveAll(filepath.Join(dir, ".git")); err != nil {
		t.Fatal(err)
	}
	status, output = s.run(inGitLab...)
	s.refused(status, output, "GIT_VERIFY=commit: ")
}

// TestGitVerifyInPhases: a build or a push that wants a signature does not take a checkout that nobody looked at.
func TestGitVerifyInPhases(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.commit("one")
	signer, err := gitserver.OpenPGP("release@example.com", gitserver.Epoch, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := gitserver.SignCommit(p.repo, "develop", signer); err != nil {
		t.Fatal(err)
	}
	p.mustDo(phaseClone)
	for _, phase := range []string{phaseBuild, phasePush} {
		status, output := p.phase(phase, "GIT_VERIFY", "commit")
		p.refused(status, output, "GIT_VERIFY=commit: PHASE=clone has not looked at that signature")
		p.mustDo(phaseBuild)
	}
	p.env["GIT_VERIFY"], p.env["GIT_VERIFY_KEYS"] = "commit", signer.Public
	p.mustDo(phaseClone, phaseBuild, phasePush)
	if p.result("IMAGE_DIGEST") == "" {
		t.Error("nothing was pushed")
	}
}

// TestAMovedTagIsRefused: a version that was released is not built again from another commit, and a pipeline that was
// started for one commit does not build another.
func TestAMovedTagIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.commit("one")
	moveTag(t, s.repo, "v1.0", first)
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	released := s.digest("1.0")
	second := s.commit("two")
	moveTag(t, s.repo, "v1.0", second)

	for _, test := range []struct {
		description, revision, tag string
		last                       string
	}{
		{"the tag's own pipeline", "v1.0", "", fmt.Sprintf(
			`clone-build-push: refused: registry: tagging "%[1]s/deepsky/hello:1.0": it is there already, as %[2]s, built from commit %[3]s, `+
				`and the Git tag "v1.0" leads to commit %[4]s. Hint: a Git tag that was moved is not released again: `+
				`give the commit a tag of its own, or set OVERWRITE=true (exit status 3)`, s.registry, released, first, second)},
		{"a pipeline of the new commit", second, "v1.0", `and the Git tag "v1.0" leads to commit ` + second},
		{"a pipeline of the old commit, started again", first, "v1.0", fmt.Sprintf(
			`clone-build-push: refused: Git server: cloning "%s": the tag "v1.0" was moved: it leads to commit %s, and commit %s is to be built. `+
				`Hint: what was tested is the old commit, and what the tag now says is the new one: give the new one a tag of its own (exit status 3)`,
			s.env["GIT_URL"], second, first)},
	} {
		t.Run(test.description, func(t *testing.T) {
			builds := len(s.builder.requests)
			status, output := s.run("IMAGE", "deepsky/hello", "GIT_REVISION", test.revision, "GIT_TAG", test.tag)
			s.refused(status, output, test.last)
			if len(s.builder.requests) != builds || s.digest("1.0") != released {
				t.Errorf("%d builds, 1.0 is %q", len(s.builder.requests)-builds, s.digest("1.0"))
			}
		})
	}

	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0", "OVERWRITE", "true")
	if s.digest("1.0") == released {
		t.Error("OVERWRITE=true did not replace it")
	}
}

// TestAMovedTagInAWorkTree: GitLab's runner fetches the tag beside the commit that the pipeline was started for.
func TestAMovedTagInAWorkTree(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := s.commit("one")
	dir := filepath.Join(t.TempDir(), "tree")
	if _, err := git.Clone(t.Context(), git.Options{URL: s.repo, Revision: first, Dir: dir, AllowLocal: true, KeepGitDir: true}); err != nil {
		t.Fatal(err)
	}
	inGitLab := []string{
		"GIT_URL", "", "GIT_REVISION", "", "IMAGE", "deepsky/hello", "CI_PROJECT_DIR", dir, "CI_COMMIT_SHA", first, "CI_COMMIT_TAG", "v1.0",
	}
	moveTag(t, dir, "v1.0", first)
	s.mustRun(inGitLab...)
	work, err := gogit.PlainOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	second, err := gitserver.Commit(dir, "other", "Another commit", gitserver.Text(map[string]string{"page": "two"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := work.Storer.SetReference(plumbing.NewHashReference("refs/tags/v1.0", plumbing.NewHash(second))); err != nil {
		t.Fatal(err)
	}
	status, output := s.run(inGitLab...)
	s.refused(status, output, fmt.Sprintf(`the tag "v1.0" was moved: it leads to commit %s, and commit %s is to be built`, second, first))
}

// TestATagThatIsReleasedIsDone: a registry that cleans up has removed the commit's own tag.
func TestATagThatIsReleasedIsDone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	moveTag(t, s.repo, "v1.0", hash)
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	released := s.digest("1.0")
	if err := remote.Delete(s.reference("hello", "commit-"+hash), account); err != nil {
		t.Fatal(err)
	}
	s.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v1.0")
	if len(s.builder.requests) != 1 || s.digest("1.0") != released || s.digest("commit-"+hash) != released {
		t.Errorf("%d builds, 1.0 is %q and the commit's tag %q, want %q", len(s.builder.requests), s.digest("1.0"), s.digest("commit-"+hash), released)
	}
}

// TestPointersOfGitLFSAreNotBuilt is told with the way out.
func TestPointersOfGitLFSAreNotBuilt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	pointer := "version https://git-lfs.github.com/spec/v1\noid sha256:" + strings.Repeat("0", 64) + "\nsize 1\n"
	for name, test := range map[string]struct {
		ignore string
		status int
		text   string
	}{
		"in the context":         {"", 9, `it holds pointers of Git LFS instead of the files that they stand for: "a/1.png", "a/2.png", "a/3.png" and 1 more. Hint: this step fetches no Git LFS`},
		"ignored":                {"a/*.png\n", 0, ""},
		"ignored, but for one":   {"a\n!a/2.png\n", 9, `"a/2.png"`},
		"a pattern that is none": {"[\n", 9, "reading .dockerignore"},
	} {
		branch := strings.ReplaceAll(strings.ReplaceAll(name, " ", "-"), ",", "")
		files := map[string]string{"Dockerfile": "FROM scratch\nCOPY . /\n", ".dockerignore": test.ignore}
		for _, file := range []string{"1", "2", "3", "4"} {
			files["a/"+file+".png"] = pointer
		}
		if _, err := gitserver.Commit(s.repo, branch, "Pictures", gitserver.Text(files)); err != nil {
			t.Fatal(err)
		}
		builds := len(s.builder.requests)
		status, output := s.run("CONTEXT_DIR", "", "GIT_REVISION", branch)
		if status != test.status || !strings.Contains(output, test.text) || (len(s.builder.requests) > builds) != (status == 0) {
			t.Errorf("%s: exit status %d, want %d, with %q:\n%s", name, status, test.status, test.text, output)
		}
	}
}

// moveTag makes a tag, or has it lead elsewhere.
func moveTag(t *testing.T, repo, name, commit string) {
	t.Helper()
	opened, err := gogit.PlainOpen(repo)
	if err != nil {
		t.Fatal(err)
	}
	err = opened.Storer.SetReference(plumbing.NewHashReference(plumbing.NewTagReferenceName(name), plumbing.NewHash(commit)))
	if err != nil {
		t.Fatal(err)
	}
}
