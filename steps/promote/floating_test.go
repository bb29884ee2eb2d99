package promote

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"dockline/e2e/faultyregistry"
)

// versions is a history of a target: which of the images 0, 1, … each tag holds.
type versions map[string]int

// newVersions pushes images 0 to 4, the tags of the target, and image 4 as a version of the source.
func newVersions(t testing.TB, held versions, version string) (s *stage, name func(digest string) int) {
	t.Helper()
	s = &stage{source: faultyregistry.Start(t), target: faultyregistry.Start(t)}
	var images []v1.Image
	for range 5 {
		images = append(images, must(random.Image(100, 1)))
	}
	for tag, i := range held {
		pushImage(t, s.target, hello+":"+tag, images[i])
	}
	s.digest = pushImage(t, s.source, hello+":"+version, images[4])
	s.target.Forget()
	return s, func(digest string) int {
		for i, image := range images {
			if must(image.Digest()).String() == digest {
				return i
			}
		}
		return -1
	}
}

func TestFloatingTagsMoveForwardOnly(t *testing.T) {
	t.Parallel()
	const all = "latest, {major},{major}.{minor}"
	none := -1
	for _, row := range []struct {
		description string
		held        versions
		version     string // promoted: image 4
		variables   []string
		status      int
		want        versions
	}{
		{"the first version", versions{}, "1.2.3", nil, 0, versions{"1.2.3": 4, "latest": 4, "1": 4, "1.2": 4}},
		{
			"the newest", versions{"1.2.2": 0, "latest": 0, "1": 0, "1.2": 0},
			"1.2.3", nil, 0, versions{"1.2.3": 4, "latest": 4, "1": 4, "1.2": 4, "1.2.2": 0},
		},
		{
			"a patch of an old line", versions{"1.2.2": 0, "1.10.0": 1, "2.0.0": 2, "latest": 2, "2": 2, "1": 1, "1.2": 0},
			"1.2.3", nil, 0, versions{"1.2.3": 4, "latest": 2, "1": 1, "1.2": 4},
		},
		{"two components", versions{"1.9": 0, "latest": 0}, "1.10", nil, 0, versions{"1.10": 4, "latest": 4, "1": 4}},
		{
			"a pre-release", versions{"1.0": 0, "latest": 0},
			"1.1-rc.1", nil, 0, versions{"1.1-rc.1": 4, "latest": 0, "1": none, "1.1": none},
		},
		{
			"a pre-release, as asked", versions{"1.0": 0, "latest": 0},
			"1.1-rc.1", []string{"FLOATING_PRERELEASES", "true"}, 0, versions{"1.1-rc.1": 4, "latest": 4, "1": 4, "1.1": 4},
		},
		{"what it holds is of no version", versions{"latest": 0, "1.0": 1}, "1.1", nil, 3, versions{"1.1": none, "latest": 0, "1": none}},
		{
			"the version is forced", versions{"1.1.1": 0, "latest": 0, "1": 0},
			"1.1.1", []string{"FORCE", "true", "FORCE_REASON", "why"}, 0, versions{"1.1.1": 4, "latest": 4, "1": 4, "1.1": 4},
		},
		{"a version without an order", versions{}, "develop-0e0cf4c8", nil, 2, versions{"develop-0e0cf4c8": none}},
		{"no template", versions{}, "1.0", []string{"FLOATING_TAGS", "{version}-x"}, 2, versions{"1.0": none}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s, name := newVersions(t, row.held, row.version)
			variables := s.with(append([]string{"IMAGE", hello + ":" + row.version, "FLOATING_TAGS", all}, row.variables...)...)
			got := promote(t, variables)
			if got.status != row.status || row.status != 0 && len(writes(s.target)) > 0 {
				t.Errorf("status %d, writes %v: %s", got.status, writes(s.target), got.last)
			}
			check := func() {
				now := versions{}
				for tag := range row.want {
					now[tag] = name(digestAt(t, s.target, hello+":"+tag))
				}
				if diff := cmp.Diff(row.want, now); diff != "" {
					t.Errorf("tags (-want +got):\n%s\n%s", diff, got.log)
				}
			}
			check()
			if row.status == 0 {
				if got = promote(t, variables); got.status != 0 || got.results["PROMOTION"] != "same" {
					t.Errorf("again: status %d, %v: %s", got.status, got.results, got.last)
				}
				check()
			}
		})
	}
}

func TestARunThatWasBrokenOffBeforeTheFloatingTags(t *testing.T) {
	t.Parallel()
	s, name := newVersions(t, versions{"1.1.1": 0, "latest": 0}, "1.1.1")
	s.target.Break("PUT /manifests/latest", -1, faultyregistry.Status(500, ""))
	variables := s.with("IMAGE", hello+":1.1.1", "FLOATING_TAGS", "latest", "FORCE", "true", "FORCE_REASON", "why")
	if got := promote(t, variables); got.status == 0 || !strings.Contains(got.last, "latest") || name(digestAt(t, s.target, hello+":1.1.1")) != 4 {
		t.Errorf("status %d: %s", got.status, got.last)
	}
	s.target.Mend()
	if got := promote(t, variables); got.status != 0 || name(digestAt(t, s.target, hello+":latest")) != 4 {
		t.Errorf("the next run: status %d: %s", got.status, got.last)
	}
}

// TestThatRunIsCompletedWhateverTheBackupTag: its name need be no version, if it says of which one it is.
func TestThatRunIsCompletedWhateverTheBackupTag(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		template string
		status   int
	}{{"old-{version}-{digest8}", 0}, {"{version}-replaced-{digest8}", 0}, {"old-{digest8}", 3}} {
		s, name := newVersions(t, versions{"1.1.1": 0, "latest": 0}, "1.1.1")
		s.target.Break("PUT /manifests/latest", -1, faultyregistry.Status(500, ""))
		variables := s.with("IMAGE", hello+":1.1.1", "FLOATING_TAGS", "latest", "FORCE", "true", "FORCE_REASON", "why", "BACKUP_TAG", row.template)
		if got := promote(t, variables); got.status == 0 {
			t.Errorf("%s: status %d", row.template, got.status)
		}
		s.target.Mend()
		got := promote(t, variables)
		if want := map[bool]int{true: 4, false: 0}[row.status == 0]; got.status != row.status || name(digestAt(t, s.target, hello+":latest")) != want {
			t.Errorf("%s: status %d: %s", row.template, got.status, got.last)
		}
	}
}

// TestABackupOfAnotherVersionSaysNothing: what latest holds was 2.0 before, and is not known to be older than 1.1.1.
func TestABackupOfAnotherVersionSaysNothing(t *testing.T) {
	t.Parallel()
	for _, template := range []string{"old-{version}-{digest8}", "old-{digest8}"} {
		s, name := newVersions(t, versions{"2.0": 1, "latest": 0, "1.1.1": 2}, "1.1.1")
		digest := strings.TrimPrefix(digestAt(t, s.target, hello+":latest"), "sha256:")
		tag := strings.NewReplacer("{version}", "2.0", "{digest8}", digest[:8]).Replace(template)
		repository := repository(t, s.target)
		if err := repository.Put(t.Context(), must(repository.Resolve(t.Context(), "latest")), tag); err != nil {
			t.Fatal(err)
		}
		got := promote(t, s.with("IMAGE", hello+":1.1.1", "FLOATING_TAGS", "latest", "FORCE", "true", "FORCE_REASON", "why", "BACKUP_TAG", template))
		if got.status != 3 || name(digestAt(t, s.target, hello+":latest")) != 0 {
			t.Errorf("%s: status %d: %s", template, got.status, got.last)
		}
	}
}

func TestTheReportTellsOfFloatingTags(t *testing.T) {
	t.Parallel()
	s, _ := newVersions(t, versions{"1.0": 0, "1": 0, "2.0": 1, "latest": 1}, "1.1")
	path := filepath.Join(t.TempDir(), "report.json")
	got := promote(t, s.with("IMAGE", hello+":1.1", "FLOATING_TAGS", "latest,{major}", "REPORT_FILE", path))
	var content struct{ Details imageReport }
	if err := json.Unmarshal(must(os.ReadFile(path)), &content); err != nil || got.status != 0 {
		t.Fatalf("%v, status %d: %s", err, got.status, got.last)
	}
	var told []string
	for _, one := range content.Details.Floating {
		told = append(told, fmt.Sprint(strings.TrimPrefix(one.Tag, s.target.Host()+"/"+hello), " ", one.State, " ", one.Version))
	}
	if diff := cmp.Diff([]string{":latest kept 2.0", ":1 moved 1.0"}, told); diff != "" {
		t.Errorf("report (-want +got):\n%s", diff)
	}
}

func TestFloatingTagsOfASet(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, version := range []string{"1.0", "1.1", "2.0"} {
		pushImage(t, s.source, "a/b:"+version, must(random.Image(100, 1)))
	}
	for _, row := range []struct {
		images, floating string
		status           int
		text             string
	}{
		{"a/b:1.0,a/b:1.1=v1.0", "latest", 2, "of \"a/b:1.0\" and of \"a/b:v1.0\""},
		{"a/b:1.0,a/b:1.1=1", "{major}", 2, "version of another image"},
		{"a/b:1.0,a/b:2.0,a/b:1.1", "latest,{major}", 0, ""},
	} {
		got := promote(t, s.with("IMAGE", "", "IMAGES", row.images, "FLOATING_TAGS", row.floating))
		if got.status != row.status || !strings.Contains(got.last, row.text) {
			t.Errorf("%s: status %d, last line %q", row.images, got.status, got.last)
		}
	}
	for floating, version := range map[string]string{"latest": "2.0", "2": "2.0", "1": "1.1"} {
		if now, want := digestAt(t, s.target, "a/b:"+floating), digestAt(t, s.source, "a/b:"+version); now != want {
			t.Errorf("%s holds %s, want %s", floating, now, want)
		}
	}
}
