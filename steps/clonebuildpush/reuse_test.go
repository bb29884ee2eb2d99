package clonebuildpush

import (
	"encoding/json"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
)

// commitFiles commits files to the branch develop.
func (s *stage) commitFiles(files map[string]string) string {
	s.t.Helper()
	hash, err := gitserver.Commit(s.repo, "develop", "A change", gitserver.Text(files))
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

// unrelated is a commit that leaves the context as it is.
func (s *stage) unrelated(page, text string) string {
	s.t.Helper()
	return s.commitFiles(map[string]string{
		"hello_v1.0/Dockerfile": "FROM scratch\nCOPY page /page\n", "hello_v1.0/page": page, "README": text,
	})
}

// keyTags are the tags of keys that the repository has.
func (s *stage) keyTags() []string {
	s.t.Helper()
	repository, err := name.NewRepository(s.registry+"/deepsky/hello", name.Insecure)
	if err != nil {
		s.t.Fatal(err)
	}
	all, err := remote.List(repository, account)
	if err != nil {
		s.t.Fatal(err)
	}
	var keys []string
	for _, tag := range all {
		if strings.HasPrefix(tag, "build-") {
			keys = append(keys, tag)
		}
	}
	return keys
}

func TestUnchangedMeansDone(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"], s.env["IMAGE"] = reuseUnchanged, "deepsky/hello"
	s.env["REPORT_FILE"] = filepath.Join(s.resultDir, "report.json")
	first := s.unrelated("one", "a")
	s.mustRun()
	digest := s.result("IMAGE_DIGEST")
	second := s.unrelated("one", "b")
	s.builder.refuse = true // so that a build, or anything that readies it, would fail
	status, output := s.run()
	if status != 0 || !strings.Contains(output, "nothing has changed") || !strings.Contains(output, "built_from="+first) {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	for _, tag := range []string{"commit-" + first, "commit-" + second, "develop-" + second[:8], s.keyTags()[0]} {
		if got := s.digest(tag); got != digest {
			t.Errorf("%s is %q, want %q", tag, got, digest)
		}
	}
	if s.result("COMMIT") != second || s.result("IMAGE_DIGEST") != digest || len(s.builder.requests) != 1 {
		t.Errorf("commit %q, digest %q, %d builds", s.result("COMMIT"), s.result("IMAGE_DIGEST"), len(s.builder.requests))
	}
	var told struct{ Details report }
	if err := json.Unmarshal([]byte(s.result("report.json")), &told); err != nil {
		t.Fatal(err)
	}
	if d := told.Details; d.Built || d.Reused != reusedUnchanged || d.BuiltOf != first || keyTag(d.Key) != s.keyTags()[0] {
		t.Errorf("report is %+v", d)
	}
	image, err := remote.Image(s.reference("hello", "commit-"+second), account)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil || config.Config.Labels[labelRevision] != first || config.Config.Labels[labelVersion] != "" {
		t.Errorf("labels %q (%v)", config.Config.Labels, err)
	}
}

// TestAnotherBaseImageIsAnotherKey, be it under the same tag.
func TestAnotherBaseImageIsAnotherKey(t *testing.T) {
	t.Parallel()
	for _, dockerfile := range []string{"FROM {R}/deepsky/base:1\nCOPY page /page\n", "FROM scratch\nCOPY --from={R}/deepsky/base:1 /x /x\n"} {
		s := newStage(t)
		s.env["REUSE"] = reuseUnchanged
		push := func() v1.Hash {
			image, err := random.Image(64, 1)
			if err != nil {
				t.Fatal(err)
			}
			if err := remote.Write(s.reference("base", "1"), image, account); err != nil {
				t.Fatal(err)
			}
			digest, err := image.Digest()
			if err != nil {
				t.Fatal(err)
			}
			return digest
		}
		push()
		s.commitFiles(map[string]string{"hello_v1.0/page": "one", "hello_v1.0/Dockerfile": strings.ReplaceAll(dockerfile, "{R}", s.registry)})
		s.mustRun()
		s.mustRun()
		if len(s.builder.requests) != 1 {
			t.Errorf("%d builds on one base image", len(s.builder.requests))
		}
		push()
		s.mustRun()
		if len(s.builder.requests) != 2 || len(s.keyTags()) != 2 {
			t.Errorf("%d builds on two base images, keys %v", len(s.builder.requests), s.keyTags())
		}
	}
}

func TestWhatIsAddedFromElsewhereIsBuilt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"] = reuseUnchanged
	s.commitFiles(map[string]string{"hello_v1.0/Dockerfile": "FROM scratch\nADD https://example.com/x /x\n"})
	s.mustRun()
	status, output := s.run()
	if status != 0 || len(s.builder.requests) != 2 || len(s.keyTags()) != 0 || !strings.Contains(output, "Dockerfile:2: ADD https://example.com/x") {
		t.Errorf("exit status %d, %d builds, keys %v:\n%s", status, len(s.builder.requests), s.keyTags(), output)
	}
}

// TestAKeysTagThatWasMovedIsNotBelieved: it is built, and the tag is put right.
func TestAKeysTagThatWasMovedIsNotBelieved(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"] = reuseUnchanged
	s.commit("one")
	s.mustRun()
	key := s.keyTags()[0]
	s.commit("two")
	s.mustRun()
	other, err := remote.Get(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(s.reference("hello", key), other, account); err != nil {
		t.Fatal(err)
	}
	s.commit("one")
	status, output := s.run()
	if status != 0 || len(s.builder.requests) != 3 || !strings.Contains(output, "somebody else wrote this tag") {
		t.Fatalf("exit status %d, %d builds:\n%s", status, len(s.builder.requests), output)
	}
	if s.digest(key) != s.digest("1.0") || s.digest(key) == other.Digest.String() {
		t.Errorf("the tag of the key is %q, and 1.0 is %q", s.digest(key), s.digest("1.0"))
	}
}

// TestAReusedImageIsThatOfItsCommit: a Git tag takes it, since it was built from the same files, and takes no other.
func TestAReusedImageIsThatOfItsCommit(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"], s.env["IMAGE"] = reuseUnchanged, "deepsky/hello"
	s.unrelated("one", "a")
	s.mustRun()
	tested := s.result("IMAGE_DIGEST")
	hash := s.unrelated("one", "b")
	s.mustRun()
	if err := gitserver.Tag(s.repo, "v1.0", hash, ""); err != nil {
		t.Fatal(err)
	}
	// Also where other settings, or a base image that moved, make another key, and where REUSE is not set.
	s.mustRun("GIT_REVISION", "v1.0", "BUILD_ARGS", "A=1", "REUSE", "")
	if s.digest("1.0") != tested || len(s.builder.requests) != 1 {
		t.Errorf("1.0 is %q, want %q; %d builds", s.digest("1.0"), tested, len(s.builder.requests))
	}
	// Somebody moves a commit's tag to the image of other files.
	other := s.commit("two")
	s.mustRun()
	held, err := remote.Get(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Put(s.reference("hello", "commit-"+other), held, account); err != nil {
		t.Fatal(err)
	}
	if err := gitserver.Tag(s.repo, "v2.0", other, ""); err != nil {
		t.Fatal(err)
	}
	if status, output := s.run("GIT_REVISION", "v2.0"); status != 3 || s.digest("2.0") != "" {
		t.Errorf("exit status %d, 2.0 is %q:\n%s", status, s.digest("2.0"), output)
	}
}

// TestOnlyWhatAKnownKeySignedIsReused: who may push can push an image that says anything of itself.
func TestOnlyWhatAKnownKeySignedIsReused(t *testing.T) {
	t.Parallel()
	key, public := keyPair(t)
	other, otherPublic := keyPair(t)
	s := newStage(t)
	s.env["REUSE"], s.env["PROVENANCE"] = reuseUnchanged, "true"
	s.env["RECORD_KEY"], s.env["RECORD_PUBLIC_KEY"] = key, public
	s.commit("one")
	for _, row := range []struct {
		description string
		changes     []string
		builds      int // in all
	}{
		{"somebody pushes an image of this key without a signature", []string{"RECORD_KEY", "", "RECORD_PUBLIC_KEY", ""}, 1},
		{"it is not taken", nil, 2},
		{"what we have signed is", nil, 2},
		{"it is not taken by who trusts another", []string{"RECORD_PUBLIC_KEY", otherPublic, "RECORD_KEY", other}, 3},
		{"and what that signed not by us", nil, 4},
	} {
		status, output := s.run(row.changes...)
		if status != 0 || len(s.builder.requests) != row.builds || len(s.keyTags()) != 1 {
			t.Fatalf("%s: exit status %d, %d builds, want %d; keys %v:\n%s", row.description, status, len(s.builder.requests), row.builds, s.keyTags(), output)
		}
	}
	// Provenance that we have signed, of another image, attached to one of somebody else's.
	signed := s.digest("1.0")
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config = config.DeepCopy()
	config.Config.Labels = map[string]string{labelKey: strings.TrimPrefix(s.keyTags()[0], "build-")}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(s.reference("hello", s.keyTags()[0]), image, account); err != nil {
		t.Fatal(err)
	}
	s.reattach(signed, image)
	if status, output := s.run(); status != 0 || len(s.builder.requests) != 5 || !strings.Contains(output, "no key of RECORD_PUBLIC_KEY has signed") {
		t.Errorf("exit status %d, %d builds:\n%s", status, len(s.builder.requests), output)
	}
}

// reattach attaches what one image has to another one.
func (s *stage) reattach(from string, to v1.Image) {
	s.t.Helper()
	repository := s.reference("hello", "1.0").Context()
	index, err := remote.Referrers(repository.Digest(from), account)
	if err != nil {
		s.t.Fatal(err)
	}
	list, err := index.IndexManifest()
	if err != nil || len(list.Manifests) == 0 {
		s.t.Fatalf("nothing is attached (%v)", err)
	}
	for _, one := range list.Manifests {
		artifact, err := remote.Image(repository.Digest(one.Digest.String()), account)
		if err != nil {
			s.t.Fatal(err)
		}
		subject, err := partial.Descriptor(to)
		if err != nil {
			s.t.Fatal(err)
		}
		moved, ok := mutate.Subject(artifact, *subject).(v1.Image)
		if !ok {
			s.t.Fatal("no image")
		}
		digest, err := moved.Digest()
		if err != nil {
			s.t.Fatal(err)
		}
		if err := remote.Write(repository.Digest(digest.String()), moved, account); err != nil {
			s.t.Fatal(err)
		}
	}
}

func TestReuseAndOverwrite(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"], s.env["OVERWRITE"] = reuseUnchanged, "false"
	s.commit("one")
	s.mustRun()
	s.mustRun() // the version is there, and holds what it would hold
	if len(s.builder.requests) != 1 {
		t.Errorf("%d builds", len(s.builder.requests))
	}
	s.commit("two")
	if status, output := s.run(); status != 3 || len(s.builder.requests) != 1 {
		t.Errorf("exit status %d, %d builds:\n%s", status, len(s.builder.requests), output)
	}
}

// TestAnAnswerThatSaysNothingIsNotNone: the step fails, or where it may build without the registry, builds and says so.
func TestAnAnswerThatSaysNothingIsNotNone(t *testing.T) {
	t.Parallel()
	for description, answer := range map[string]struct {
		status int
		exit   int
	}{"not allowed": {http.StatusForbidden, 5}, "a web page": {http.StatusOK, 6}} {
		t.Run(description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.env["REUSE"] = reuseUnchanged
			p.registry = startRegistry(t, func(open http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if strings.Contains(r.URL.Path, "/manifests/build-") {
						w.Header().Set("Content-Type", "text/html")
						w.WriteHeader(answer.status)
						return
					}
					open.ServeHTTP(w, r)
				})
			})
			p.env["REGISTRY"] = p.registry
			p.commit("one")
			if status, output := p.stage.run(); status != answer.exit || len(p.builder.requests) != 0 {
				t.Errorf("exit status %d, %d builds:\n%s", status, len(p.builder.requests), output)
			}
			p.mustDo(phaseClone)
			status, output := p.phase(phaseBuild, p.pulling()...)
			if status != 0 || len(p.builder.requests) != 1 || !strings.Contains(output, "is left to PHASE=push") {
				t.Errorf("exit status %d, %d builds:\n%s", status, len(p.builder.requests), output)
			}
			if status, output := p.phase(phasePush); status != answer.exit {
				t.Errorf("exit status %d:\n%s", status, output)
			}
		})
	}
}

func TestPhasesReuseWhatIsUnchanged(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		pulling     bool
		builds      int
	}{
		{"a build that may read the registry builds nothing", true, 1},
		{"a build that knows no registry builds, and what was there is tagged", false, 2},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.env["REUSE"], p.env["IMAGE"] = reuseUnchanged, "deepsky/hello"
			p.unrelated("one", "a")
			p.mustDo(phaseClone, phaseBuild, phasePush)
			digest := p.result("IMAGE_DIGEST")
			hash := p.unrelated("one", "b")
			p.mustDo(phaseClone)
			var account []string
			if row.pulling {
				account = p.pulling()
			}
			if status, output := p.phase(phaseBuild, account...); status != 0 {
				t.Fatalf("exit status %d:\n%s", status, output)
			}
			p.mustDo(phasePush)
			if len(p.builder.requests) != row.builds || p.digest("commit-"+hash) != digest || p.result("IMAGE_DIGEST") != digest {
				t.Errorf("%d builds, commit's image %q, result %q, want %q", len(p.builder.requests), p.digest("commit-"+hash), p.result("IMAGE_DIGEST"), digest)
			}
			status, output := p.phase(phasePush, "REUSE", "")
			if status != 2 || !strings.Contains(lastLineOf(output), `REUSE is "" here, and was "unchanged" for PHASE=build`) {
				t.Errorf("exit status %d:\n%s", status, output)
			}
		})
	}
}

func TestConfigurationOfReuse(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	_, public := keyPair(t)
	for text, changes := range map[string][]string{
		`REUSE: "always" is not unchanged`:        {"REUSE", "always"},
		"REUSE and KEEP_GIT_DIR are both set":     {"REUSE", "unchanged", "KEEP_GIT_DIR", "true"},
		"LABELS: " + labelKey + " is what REUSE":  {"LABELS", labelKey + "=x"},
		"PLATFORM and PLATFORMS are both set":     {"PLATFORM", "linux/amd64", "PLATFORMS", "linux/amd64"},
		`PLATFORMS names "linux/arm64" twice`:     {"PLATFORMS", "linux/arm64,linux/arm64/v8"},
		"PLATFORM_IMAGES is set, and PHASE=index": {"PLATFORM_IMAGES", "deepsky/hello:1.0"},
		"PROVENANCE is missing":                   {"REUSE", "unchanged", "RECORD_PUBLIC_KEY", public},
		"RECORD_KEY is missing: RECORD_PUBLIC":    {"REUSE", "unchanged", "RECORD_PUBLIC_KEY", public, "PROVENANCE", "true"},
		"RECORD_KEY_PASSWORD is set":              {"RECORD_KEY_PASSWORD", "s3cr3t-of-the-key"},
	} {
		if status, output := s.run(changes...); status != 2 || !strings.Contains(lastLineOf(output), text) {
			t.Errorf("exit status %d, want %q:\n%s", status, text, output)
		}
	}
}
