package clonebuildpush

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/spdx/tools-golang/spdx/v2/v2_3"

	"dockline/e2e/baseimage"
	"dockline/pkg/provenance"
	"dockline/pkg/sbom"
)

// TestRealBuildIsReused with the real program, and tells what that saves.
func TestRealBuildIsReused(t *testing.T) {
	t.Parallel()
	s, first := newRealStage(t, map[string]string{
		"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE\nCOPY page /srv/\nRUN [\"/bin/stamp\", \"/srv/version.txt\", \"1.0\"]\n",
	})
	changes := map[string]string{"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1", "REUSE": reuseUnchanged}
	run := func() (string, time.Duration) {
		results := t.TempDir()
		ctx, cancel := context.WithTimeout(t.Context(), longestBuild)
		defer cancel()
		command := s.inSandbox(ctx, nil, results, changes)
		started := time.Now()
		output, err := command.CombinedOutput()
		took := time.Since(started)
		if err != nil || !strings.Contains(string(output), "cloned") {
			t.Fatalf("%v:\n%s", err, output)
		}
		return readResult(results, "IMAGE_DIGEST"), took
	}
	built, building := run()
	reused, reusing := run()
	if reused != built || s.digest(s.keyTags()[0]) != built || s.digest("commit-"+first) != built {
		t.Errorf("reused %q, built %q", reused, built)
	}
	t.Logf("built in %v, reused in %v: %.2f", building, reusing, reusing.Seconds()/building.Seconds())
}

// TestRealBuildForSeveralPlatforms has each of them begin with an empty root, and say what it is for.
func TestRealBuildForSeveralPlatforms(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"page":       "hello",
		"Dockerfile": "FROM scratch AS files\nCOPY page /srv/\nFROM scratch\nARG TARGETARCH\nCOPY --from=files /srv/page /srv/$TARGETARCH.html\n",
		"run/page":   "hello",
		"run/Dockerfile": "ARG BASE\nFROM $BASE\nARG TARGETARCH\nCOPY page /only-$TARGETARCH/page\n" +
			"RUN [\"/bin/stamp\", \"/only-amd64/stamp\", \"1\"]\n",
	}
	s, hash := newRealStage(t, files)
	results := t.TempDir()
	status, output := s.runInSandbox(nil, results, map[string]string{"CONTEXT_DIR": "", "PLATFORMS": "linux/amd64,linux/arm64,linux/arm/v7"})
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	index, err := remote.Index(s.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 3 {
		t.Fatalf("index %+v (%v)", manifest, err)
	}
	for i, arch := range []string{"amd64", "arm64", "arm"} {
		image, content := s.pushed("1.0@" + manifest.Manifests[i].Digest.String())
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		variant := map[string]string{"arm": "v7"}[arch]
		if config.OS != "linux" || config.Architecture != arch || config.Variant != variant || config.Config.Labels[labelRevision] != hash {
			t.Errorf("%s: the image says %s/%s/%s", arch, config.OS, config.Architecture, config.Variant)
		}
		if len(content) != 2 || content["srv/"+arch+".html"] != "hello" { // and the directory
			t.Errorf("%s: files %v", arch, content)
		}
	}
	if got := readResult(results, "IMAGE_DIGEST"); got == "" || got != s.digest("1.0") {
		t.Errorf("result is %q, 1.0 is %q", got, s.digest("1.0"))
	}

	// Each takes its own image of an index, and nothing of the other's.
	s.pushIndex("parts", "linux/amd64", "linux/arm64")
	s.commitFiles(map[string]string{"Dockerfile": "FROM scratch\nCOPY --from=" + s.registry + "/deepsky/parts:1 / /\n"})
	status, output = s.runInSandbox(nil, t.TempDir(), map[string]string{"CONTEXT_DIR": "", "PLATFORMS": "linux/amd64,linux/arm64", "IMAGE": "deepsky/hello:parts"})
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	if index, err = remote.Index(s.reference("hello", "parts"), account); err != nil {
		t.Fatal(err)
	}
	if manifest, err = index.IndexManifest(); err != nil {
		t.Fatal(err)
	}
	for _, child := range manifest.Manifests {
		_, content := s.pushed("parts@" + child.Digest.String())
		other := map[string]string{"amd64": "arm64", "arm64": "amd64"}[child.Platform.Architecture]
		if content["srv/platform"] != child.Platform.String() || content["srv/"+child.Platform.Architecture] == "" || content["srv/"+other] != "" {
			t.Errorf("%s: files %v", child.Platform, content)
		}
	}
	s.commitFiles(files)

	// A RUN for a machine that is not there is refused by name, and one that this machine can carry out sees nothing of the
	// platform before.
	base := map[string]string{"CONTEXT_DIR": "run", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1", "IMAGE": "deepsky/hello:2.0"}
	base["PLATFORMS"] = "linux/amd64,windows/amd64"
	if status, output := s.runInSandbox(nil, t.TempDir(), base); status != 9 || !strings.Contains(lastLineOf(output), "Dockerfile:5: RUN for another platform") {
		t.Errorf("exit status %d:\n%s", status, output)
	}
	base["PLATFORMS"] = "linux/amd64,linux/386"
	status, output = s.runInSandbox(nil, t.TempDir(), base)
	if status != 9 || !strings.Contains(lastLineOf(output), "Dockerfile:5: RUN") ||
		!strings.Contains(lastLineOf(output), "exit status 1") {
		t.Errorf("exit status %d, want a RUN that misses the file of the other platform:\n%s", status, output)
	}
	if s.digest("2.0") != "" {
		t.Error("a part of an index was tagged")
	}
}

// TestRealBuildTellsWhatIsInIt finds a Go program that was copied into the image, and not those of the base image.
func TestRealBuildTellsWhatIsInIt(t *testing.T) {
	t.Parallel()
	s, hash := newRealStage(t, map[string]string{
		"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE AS web\nFROM $BASE\nCOPY page /srv/\nCOPY --from=web /bin/stamp /app/stamp\n",
	})
	status, output := s.runInSandbox(nil, t.TempDir(), map[string]string{
		"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1", "PROVENANCE": "true", "SBOM": "true",
	})
	if status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	all := s.attached(s.digest("1.0"))
	var document v2_3.Document
	if err := json.Unmarshal(all[sbom.Type].Predicate, &document); err != nil {
		t.Fatal(err)
	}
	var programs, bases []string
	for _, one := range document.Packages {
		switch {
		case one.PackageFileName != "":
			programs = append(programs, one.PackageFileName+" of "+one.PackageName)
		case one.PackageName == s.registry+"/deepsky/web:1":
			bases = append(bases, one.PackageVersion)
		}
	}
	if !slices.Equal(programs, []string{"/app/stamp of dockline"}) || len(bases) != 1 {
		t.Errorf("programs %q, base images %q", programs, bases)
	}
	var predicate provenance.Predicate
	if err := json.Unmarshal(all[provenance.Type].Predicate, &predicate); err != nil {
		t.Fatal(err)
	}
	dependencies := predicate.BuildDefinition.ResolvedDependencies
	if len(dependencies) != 2 || dependencies[0].Digest["gitCommit"] != hash || "sha256:"+dependencies[1].Digest["sha256"] != bases[0] {
		t.Errorf("dependencies %+v", dependencies)
	}
	if predicate.RunDetails.Builder.Version["kaniko"] == "" {
		t.Errorf("builder %+v", predicate.RunDetails.Builder)
	}
}

// pushIndex writes an index of images that each hold the name of their platform, and a file that the others lack.
func (s *stage) pushIndex(name string, platforms ...string) {
	s.t.Helper()
	var images []platformImage
	for _, platform := range platforms {
		_, arch, _ := strings.Cut(platform, "/")
		image, err := baseimage.Pack(
			baseimage.File{Path: "/srv/platform", Mode: 0o644, Content: []byte(platform)},
			baseimage.File{Path: "/srv/" + arch, Mode: 0o644, Content: []byte(arch)},
		)
		if err != nil {
			s.t.Fatal(err)
		}
		images = append(images, platformImage{platform, image})
	}
	index, err := indexOf(images, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := remote.WriteIndex(s.reference(name, "1"), index, account); err != nil {
		s.t.Fatal(err)
	}
}
