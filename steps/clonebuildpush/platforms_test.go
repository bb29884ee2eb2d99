package clonebuildpush

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
)

func TestPlatformsAreBuiltIntoOneIndex(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.env["PLATFORMS"] = "linux/amd64, linux/arm64 ,linux/arm/v6"
	hash := p.commit("one")
	p.mustRun("OVERWRITE", "true")
	for number, asked := range p.builder.requests {
		if asked.Labels[labelRevision] != hash {
			t.Errorf("build %d is asked for %+v", number, asked)
		}
	}
	index, err := remote.Index(p.reference("hello", "1.0"), account)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, child := range manifest.Manifests {
		got = append(got, child.Platform.String())
		if _, err := remote.Image(p.reference("hello", "1.0").Context().Digest(child.Digest.String()), account); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64", "linux/arm/v6"}, got); diff != "" {
		t.Errorf("platforms (-want +got)\n%s", diff)
	}
	if manifest.Annotations[labelRevision] != hash || p.result("IMAGE_DIGEST") != p.digest("1.0") || p.digest("commit-"+hash) != p.digest("1.0") {
		t.Errorf("annotations %v, result %q", manifest.Annotations, p.result("IMAGE_DIGEST"))
	}
	// A Git tag's run takes the index for all of its platforms.
	if err := gitserver.Tag(p.repo, "v2.0", hash, ""); err != nil {
		t.Fatal(err)
	}
	p.mustRun("IMAGE", "deepsky/hello", "GIT_REVISION", "v2.0")
	if len(p.builder.requests) != 3 || p.digest("2.0") != p.digest("1.0") {
		t.Errorf("%d builds, 2.0 is %q", len(p.builder.requests), p.digest("2.0"))
	}
	// And builds where the image of the commit lacks one.
	p.mustRun("IMAGE", "deepsky/hello:3.0", "GIT_REVISION", "v2.0", "PLATFORMS", "linux/amd64,linux/s390x")
	if len(p.builder.requests) != 5 || p.digest("3.0") == p.digest("1.0") {
		t.Errorf("%d builds, 3.0 is %q", len(p.builder.requests), p.digest("3.0"))
	}
}

// TestARunForAnotherPlatformIsRefused before anything is built.
func TestARunForAnotherPlatformIsRefused(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.builder.foreign = []string{"linux/s390x"}
	s.commitFiles(map[string]string{"hello_v1.0/Dockerfile": "FROM scratch\nCOPY Dockerfile /x\nRUN make\n"})
	for _, changes := range [][]string{{"PLATFORMS", "linux/amd64,linux/s390x"}, {"PLATFORM", "linux/s390x"}} {
		status, output := s.run(changes...)
		if status != 9 || !strings.Contains(lastLineOf(output), "Dockerfile:3: RUN for another platform") || len(s.builder.requests) != 0 {
			t.Errorf("%q: exit status %d, %d builds:\n%s", changes, status, len(s.builder.requests), output)
		}
	}
	s.commitFiles(map[string]string{"hello_v1.0/Dockerfile": "FROM scratch\nCOPY Dockerfile /x\n"})
	s.mustRun("PLATFORMS", "linux/amd64,linux/s390x")
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		has, wanted string
		want        bool
	}{
		{"", "linux/amd64", true},
		{"linux/amd64", "linux/amd64", true},
		{"linux/arm64/v8", "linux/arm64", true},
		{"linux/amd64 linux/arm64", "linux/arm64", true},
		{"linux/amd64", "linux/arm64", false},
		{"linux/amd64", "linux/amd64 linux/arm64", false},
		{"linux/arm/v7", "linux/arm/v6", false},
	} {
		if got := covers(strings.Fields(row.has), strings.Fields(row.wanted)); got != row.want {
			t.Errorf("%q covers %q: %t", row.has, row.wanted, got)
		}
	}
}
