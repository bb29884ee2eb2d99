package promote

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// witness says what a run's report said was forced, by target and digest.
type witness map[string]forced

func (w witness) Forced(_ context.Context, _ *registry.Repository, target string, holds v1.Hash) (forced, error) {
	found, ok := w[target+" "+holds.String()]
	if !ok {
		return forced{}, fault.New(fault.Refused, "reading the records: there is none about %q", target)
	}
	return found, nil
}

// forcedStage is a stage whose target's 1.0 has been forced from held to s.digest, and latest with it.
func forcedStage(t *testing.T) (s *stage, held string, known witness) {
	t.Helper()
	s = newStage(t)
	held = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	if got := promote(t, s.with("FORCE", "true", "FORCE_REASON", "a patch", "FLOATING_TAGS", "latest")); got.status != 0 {
		t.Fatal(got.log)
	}
	s.target.Forget()
	target := s.target.Host() + "/" + hello + ":1.0"
	return s, held, witness{target + " " + s.digest: {Replaced: held, Backup: s.target.Host() + "/" + backupOf(held)}}
}

func TestUndo(t *testing.T) {
	t.Parallel()
	s, held, known := forcedStage(t)
	variables := s.with("UNDO", "true", "FORCE_REASON", "the patch is worse", "FLOATING_TAGS", "latest")
	s.source.Stop() // what is brought back is in the target, or nowhere
	got := promoteBy(t, &Config{undoing: known}, variables)
	want := map[string]string{"DESTINATION_DIGEST": held, "PROMOTION": "undone", "PROMOTED_IMAGE": hello + ":1.0"}
	if diff := cmp.Diff(want, got.results); got.status != 0 || diff != "" {
		t.Fatalf("status %d: %s\nresults (-want +got):\n%s", got.status, got.log, diff)
	}
	for at, want := range map[string]string{
		hello + ":1.0": held, hello + ":latest": held, backupOf(held): held, backupOf(s.digest): s.digest,
	} {
		if now := holds(t, s.target, at); now != want {
			t.Errorf("%s holds %q, want %q", at, now, want)
		}
	}
	for _, request := range s.target.Requests() {
		if strings.HasPrefix(request, "DELETE ") {
			t.Errorf("something was deleted: %s", request)
		}
	}
	// Its record says that it was undone: nothing is left to do, and nothing comes back.
	known[s.target.Host()+"/"+hello+":1.0 "+held] = forced{Undone: true, Replaced: s.digest, Backup: s.target.Host() + "/" + backupOf(s.digest)}
	s.target.Forget()
	got = promoteBy(t, &Config{undoing: known}, variables)
	if got.status != 0 || got.results["PROMOTION"] != "same" || len(writes(s.target)) > 0 {
		t.Errorf("again: status %d, results %v, writes %v: %s", got.status, got.results, writes(s.target), got.last)
	}
}

func TestUndoRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		change      func(t *testing.T, s *stage, held string, known witness)
		status      int
		text        string
	}{
		{"somebody else has written the tag since", func(t *testing.T, s *stage, _ string, _ witness) {
			push(t, s.target, hello+":1.0", twoPlatforms(t, "other"))
		}, 3, "there is none about"},
		{"the tag is gone", func(_ *testing.T, s *stage, _ string, _ witness) {
			s.target.Break("GET /manifests/1.0", -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		}, 4, "it is not there"},
		{"the backup is gone", func(_ *testing.T, s *stage, held string, _ witness) {
			s.target.Break("GET "+backupOf(held)[len(hello)+1:], -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		}, 3, "is gone"},
		{"the backup holds another image", func(t *testing.T, s *stage, held string, _ witness) {
			push(t, s.target, backupOf(held), twoPlatforms(t, "other"))
		}, 3, "holds"},
		{"the backup is elsewhere", func(_ *testing.T, _ *stage, _ string, known witness) {
			for at, found := range known {
				found.Backup = "registry.example.com/deepsky/other:1.0"
				known[at] = found
			}
		}, 3, "no tag of this repository"},
		{"the backup is a digest", func(_ *testing.T, s *stage, held string, known witness) {
			for at, found := range known {
				found.Backup = s.target.Host() + "/" + hello + "@" + held
				known[at] = found
			}
		}, 3, "no tag of this repository"},
		{"the registry fails", func(_ *testing.T, s *stage, held string, _ witness) {
			s.target.Break("GET "+backupOf(held)[len(hello)+1:], -1, faultyregistry.Status(503, ""))
		}, 6, "503"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s, held, known := forcedStage(t)
			row.change(t, s, held, known)
			s.target.Forget()
			got := promoteBy(t, &Config{undoing: known}, s.with("UNDO", "true"))
			if got.status != row.status || !strings.Contains(got.last, row.text) || len(writes(s.target)) > 0 {
				t.Errorf("status %d, writes %v, last line %q; want %d, none, %q", got.status, writes(s.target), got.last, row.status, row.text)
			}
		})
	}
	t.Run("with what says otherwise", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		for _, variables := range []map[string]string{
			s.with("UNDO", "true", "FORCE", "true", "FORCE_REASON", "x"), s.with("UNDO", "true", "DIGEST", s.digest),
			s.with("UNDO", "true", "FORCE_REPLACES", s.digest), s.with("UNDO", "true", "IMAGE", "", "IMAGES", hello+":1.0@"+s.digest),
		} {
			if got := promote(t, variables); got.status != 2 || !strings.Contains(got.last, "UNDO are both set") {
				t.Errorf("status %d: %s", got.status, got.last)
			}
		}
	})
}

func TestUndoOfASetIsPlannedAndWhole(t *testing.T) {
	t.Parallel()
	const n = 3
	s := newStage(t)
	digests, images := newSet(t, s, n)
	known := witness{}
	for i := range n {
		old := must(random.Image(100, 1))
		held := pushImage(t, s.target, service(i)+":1.0", old)
		backup := s.target.Host() + "/" + service(i) + ":1.0-replaced-" + held[7:15]
		known[s.target.Host()+"/"+service(i)+":1.0 "+digests[i]] = forced{Replaced: held, Backup: backup}
	}
	before := tagsOf(t, s.target, n)
	if got := promote(t, s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "a release")); got.status != 0 {
		t.Fatal(got.log)
	}
	variables := s.with("IMAGE", "", "IMAGES", images, "UNDO", "true", "DRY_RUN", "true", "PLAN_FILE", filepath.Join(t.TempDir(), "plan"))
	s.target.Forget()
	if got := promoteBy(t, &Config{undoing: known}, variables); got.status != 0 || len(writes(s.target)) > 0 {
		t.Fatalf("the plan: status %d, writes %v: %s", got.status, writes(s.target), got.last)
	}
	delete(variables, "DRY_RUN")
	s.target.Break("PUT "+service(1)+"/manifests/1.0", -1, faultyregistry.Status(500, ""))
	s.target.Break("PUT "+service(1)+"/manifests/1.0-replaced", -1, faultyregistry.Then(func() {}))
	if got := promoteBy(t, &Config{undoing: known}, variables); got.status == 0 {
		t.Errorf("status %d", got.status)
	}
	if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); diff != "" {
		t.Errorf("tags after a failure (-want +got):\n%s", diff)
	}
	if got := promoteBy(t, &Config{undoing: known}, variables); got.status != 0 || got.results["PROMOTION"] != "undone" {
		t.Errorf("status %d, results %v: %s", got.status, got.results, got.last)
	}
	if diff := cmp.Diff(before, tagsOf(t, s.target, n)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}
