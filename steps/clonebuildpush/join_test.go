package clonebuildpush

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// ofTwo has two runs build a commit's image for two platforms, each under a name of its own, and returns what they hand on.
func (s *stage) ofTwo(names ...string) (entries []string) {
	s.t.Helper()
	for i, platform := range []string{"linux/amd64", "linux/arm64"} {
		s.mustRun("IMAGE", names[i], "PLATFORM", platform)
		entries = append(entries, names[i]+"@"+s.result("IMAGE_DIGEST"))
	}
	return entries
}

// join runs PHASE=index with what belongs to it alone.
func (s *stage) join(entries []string, changes ...string) (int, string) {
	s.t.Helper()
	environment := map[string]string{"PHASE": phaseIndex, "PLATFORM_IMAGES": strings.Join(entries, ",\n")}
	for name, value := range s.env {
		if strings.HasPrefix(name, "REGISTRY") || name == "IMAGE" || name == "RESULTS_DIR" || name == "HOME" {
			environment[name] = value
		}
	}
	for i := 0; i+1 < len(changes); i += 2 {
		environment[changes[i]] = changes[i+1]
	}
	return s.runProgram(s.builder, environment)
}

func TestImagesOfSeveralRunsAreJoined(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	hash := s.commit("one")
	entries := s.ofTwo("deepsky/hello:1.0-amd64", "deepsky/hello-arm:1.0")
	status, output := s.join([]string{entries[1], entries[0]}, "EXTRA_TAGS", "latest")
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	digest := s.digest("1.0")
	for _, tag := range []string{"commit-" + hash, "latest"} {
		if got := s.digest(tag); got != digest || got == "" {
			t.Errorf("%s is %q, want %q", tag, got, digest)
		}
	}
	for result, want := range map[string]string{
		"IMAGE_URL": s.registry + "/deepsky/hello:1.0", "IMAGE_DIGEST": digest, "COMMIT": hash, "BUILT_IMAGE": "deepsky/hello:1.0",
	} {
		if got := s.result(result); got != want {
			t.Errorf("result %s is %q, want %q", result, got, want)
		}
	}
	index, err := remote.Index(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for i, child := range manifest.Manifests {
		got = append(got, child.Platform.String())
		if !strings.HasSuffix(entries[i], child.Digest.String()) {
			t.Errorf("%s is %s, want %s", child.Platform, child.Digest, entries[i])
		}
		if _, err := remote.Image(s.reference("hello", "1.0").Context().Digest(child.Digest.String()), account); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, got); diff != "" || manifest.Annotations[labelRevision] != hash {
		t.Errorf("annotations %v, platforms (-want +got)\n%s", manifest.Annotations, diff)
	}
	// The same again is the same, and so is one index that all runs of a Git tag have found.
	for _, again := range [][]string{entries, {"deepsky/hello:1.0@" + digest, "deepsky/hello@" + digest}} {
		if status, output := s.join(again, "OVERWRITE", "false"); status != 0 || s.digest("1.0") != digest {
			t.Errorf("exit status %d, 1.0 is %q:\n%s", status, s.digest("1.0"), output)
		}
	}
	// And its name follows from the tag, as that of a build.
	if status, output := s.join(entries, "IMAGE", "deepsky/hello", "CI_COMMIT_TAG", "v2.0", "CI_COMMIT_SHA", hash); status != 0 || s.digest("2.0") != digest {
		t.Errorf("exit status %d, 2.0 is %q:\n%s", status, s.digest("2.0"), output)
	}
}

func TestWhatIsNotJoined(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	entries := s.ofTwo("deepsky/hello:1.0-amd64", "deepsky/hello:1.0-arm64")
	s.mustRun("IMAGE", "deepsky/hello:taken", "PLATFORM", "linux/amd64")
	s.mustRun("IMAGE", "deepsky/hello:index", "PLATFORMS", "linux/amd64")
	s.commit("two")
	s.mustRun("IMAGE", "deepsky/hello:other", "PLATFORM", "linux/arm64")
	before := s.digest("1.0")
	for _, row := range []struct {
		description string
		entries     []string
		changes     []string
		status      int
		text        string
	}{
		{"none", nil, nil, 2, "PLATFORM_IMAGES is missing"},
		{"an artifact that is gone", []string{"deepsky/hello:1.0-amd64@"}, nil, 2, "no digest"},
		{"a name alone", []string{"deepsky/hello"}, nil, 2, "neither a version nor a digest"},
		{"a host", []string{"registry.example.com/deepsky/hello:1"}, nil, 2, "host"},
		{"what is not there", []string{entries[0], "deepsky/hello:nope"}, nil, 4, "it is not there"},
		{"one platform twice", []string{entries[0], "deepsky/hello:taken"}, nil, 3, "both are for linux/amd64"},
		{"two commits", []string{entries[0], "deepsky/hello:other"}, nil, 3, "says that it was built from"},
		{"another commit than that of the pipeline", entries, []string{"GIT_REVISION", strings.Repeat("a", 40)}, 3, "says that it was built from"},
		{"an index", []string{entries[1], "deepsky/hello:index"}, nil, 3, "an index already"},
		{"a version that is taken", entries, []string{"IMAGE", "deepsky/hello:taken", "OVERWRITE", "false"}, 3, "OVERWRITE=true"},
		{"what is for a build", entries, []string{"PLATFORM", "linux/amd64", "GIT_PASSWORD", "s3cr3t-git"}, 2, "PHASE=index has no use for it"},
	} {
		t.Run(row.description, func(t *testing.T) {
			status, output := s.join(row.entries, row.changes...)
			if status != row.status || !strings.Contains(lastLineOf(output), row.text) {
				t.Errorf("exit status %d, want %d, with %q:\n%s", status, row.status, row.text, output)
			}
			if s.digest("1.0") != before {
				t.Error("a tag was written")
			}
		})
	}
}

// TestReusedImagesAreJoined: one was built at another commit than the other, from the same files.
func TestReusedImagesAreJoined(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.env["REUSE"] = reuseUnchanged
	s.unrelated("one", "a")
	s.mustRun("IMAGE", "deepsky/hello:1.0-amd64", "PLATFORM", "linux/amd64")
	hash := s.unrelated("one", "b")
	entries := s.ofTwo("deepsky/hello:1.1-amd64", "deepsky/hello:1.1-arm64")
	if len(s.builder.requests) != 2 {
		t.Fatalf("%d builds", len(s.builder.requests))
	}
	status, output := s.join(entries, "GIT_REVISION", hash)
	if status != 0 || s.result("COMMIT") != hash {
		t.Fatalf("exit status %d, commit %q:\n%s", status, s.result("COMMIT"), output)
	}
	index, err := remote.Index(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := index.RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	var manifest v1.IndexManifest
	if err := json.Unmarshal(raw, &manifest); err != nil || manifest.Annotations[labelRevision] != "" {
		t.Errorf("the index says %q of two commits (%v)", manifest.Annotations[labelRevision], err)
	}
}
