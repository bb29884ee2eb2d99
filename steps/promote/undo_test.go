package promote

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/record"
)

// forcedStage is a stage whose target's 1.0 has been forced from held to s.digest, and latest with it.
func forcedStage(t *testing.T, variables ...string) (s *stage, held string) {
	t.Helper()
	s = newStage(t)
	held = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	variables = append(variables, "FORCE", "true", "FORCE_REASON", "a patch", "FLOATING_TAGS", "latest")
	if got := promote(t, s.with(variables...)); got.status != 0 {
		t.Fatal(got.log)
	}
	s.target.Forget()
	return s, held
}

// attachPromotion writes a record of a promotion that never was.
func attachPromotion(t *testing.T, s *stage, promotion record.Promotion) {
	t.Helper()
	repository := repository(t, s.target)
	digest := must(v1.NewHash(s.digest))
	promotion.To, promotion.Digest, promotion.Time = s.target.Host()+"/"+hello+":1.0", s.digest, time.Now().Add(30*time.Second) // the newest, within what clocks may differ by
	made := must(record.Record{Image: hello, Digest: digest, Promotion: &promotion}.Artifact(must(repository.Manifest(t.Context(), digest)), nil))
	if err := errors.Join(made.Upload(t.Context(), repository), made.Attach(t.Context(), repository)); err != nil {
		t.Fatal(err)
	}
}

func TestUndo(t *testing.T) {
	t.Parallel()
	s, held := forcedStage(t)
	variables := s.with("UNDO", "true", "FORCE_REASON", "the patch is worse", "FLOATING_TAGS", "latest")
	s.source.Stop() // what is brought back is in the target, or nowhere
	got := promote(t, variables)
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
	recorded := recordsOf(t, s.target, held, nil)
	if len(recorded) != 1 {
		t.Fatalf("%d records, want 1", len(recorded))
	}
	for _, one := range recorded {
		want := record.Promotion{
			Kind: record.Undone, From: s.target.Host() + "/" + backupOf(held), To: s.target.Host() + "/" + hello + ":1.0", Digest: held,
			Replaced: s.digest, Backup: s.target.Host() + "/" + backupOf(s.digest), Reason: "the patch is worse",
		}
		if diff := cmp.Diff(want, *one.Promotion, anyTime); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	}
	for _, request := range s.target.Requests() {
		if strings.HasPrefix(request, "DELETE ") {
			t.Errorf("something was deleted: %s", request)
		}
	}
	// Its record says that it was undone: nothing is left to do, and nothing comes back.
	s.target.Forget()
	got = promote(t, variables)
	if got.status != 0 || got.results["PROMOTION"] != "same" || len(writes(s.target)) > 0 {
		t.Errorf("again: status %d, results %v, writes %v: %s", got.status, got.results, writes(s.target), got.last)
	}
}

func TestUndoRefuses(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		change      func(t *testing.T, s *stage, held string)
		status      int
		text        string
	}{
		{"somebody else has written the tag since", func(t *testing.T, s *stage, _ string) {
			push(t, s.target, hello+":1.0", twoPlatforms(t, "other"))
		}, 3, "there is none about"},
		{"the tag is gone", func(_ *testing.T, s *stage, _ string) {
			s.target.Break("GET /manifests/1.0", -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		}, 4, "it is not there"},
		{"the backup is gone", func(_ *testing.T, s *stage, held string) {
			s.target.Break("GET "+backupOf(held)[len(hello)+1:], -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		}, 3, "is gone"},
		{"the backup holds another image", func(t *testing.T, s *stage, held string) {
			push(t, s.target, backupOf(held), twoPlatforms(t, "other"))
		}, 3, "holds"},
		{"the backup is elsewhere", func(t *testing.T, s *stage, held string) {
			attachPromotion(t, s, record.Promotion{Kind: record.Forced, Replaced: held, Backup: "registry.example/deepsky/other:1.0"})
		}, 3, "no tag of this repository"},
		{"the backup is a digest", func(t *testing.T, s *stage, held string) {
			attachPromotion(t, s, record.Promotion{Kind: record.Forced, Replaced: held, Backup: s.target.Host() + "/" + hello + "@" + held})
		}, 3, "no tag of this repository"},
		{"the record names another image", func(t *testing.T, s *stage, held string) {
			attachPromotion(t, s, record.Promotion{Kind: record.Forced, Replaced: "sha256:" + strings.Repeat("0", 64), Backup: s.target.Host() + "/" + backupOf(held)})
		}, 3, "holds"},
		{"nothing was replaced", func(t *testing.T, s *stage, _ string) {
			attachPromotion(t, s, record.Promotion{Kind: record.Copied})
		}, 3, "replaced nothing"},
		{"the registry fails", func(_ *testing.T, s *stage, held string) {
			s.target.Break("GET "+backupOf(held)[len(hello)+1:], -1, faultyregistry.Status(503, ""))
		}, 6, "503"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s, held := forcedStage(t)
			row.change(t, s, held)
			s.target.Forget()
			got := promote(t, s.with("UNDO", "true"))
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
	for i := range n {
		pushImage(t, s.target, service(i)+":1.0", must(random.Image(100, 1)))
	}
	before := tagsOf(t, s.target, n)
	if got := promote(t, s.with("IMAGE", "", "IMAGES", images, "FORCE", "true", "FORCE_REASON", "a release")); got.status != 0 {
		t.Fatal(got.log)
	}
	variables := s.with("IMAGE", "", "IMAGES", images, "UNDO", "true", "DRY_RUN", "true", "PLAN_FILE", filepath.Join(t.TempDir(), "plan"))
	s.target.Forget()
	if got := promote(t, variables); got.status != 0 || len(writes(s.target)) > 0 {
		t.Fatalf("the plan: status %d, writes %v: %s", got.status, writes(s.target), got.last)
	}
	delete(variables, "DRY_RUN")
	s.target.Break("PUT "+service(1)+"/manifests/1.0", -1, faultyregistry.Status(500, ""))
	s.target.Break("PUT "+service(1)+"/manifests/1.0-replaced", -1, faultyregistry.Then(func() {}))
	if got := promote(t, variables); got.status == 0 {
		t.Errorf("status %d", got.status)
	}
	if diff := cmp.Diff(digests, tagsOf(t, s.target, n)); diff != "" {
		t.Errorf("tags after a failure (-want +got):\n%s", diff)
	}
	if got := promote(t, variables); got.status != 0 || got.results["PROMOTION"] != "undone" {
		t.Errorf("status %d, results %v: %s", got.status, got.results, got.last)
	}
	if diff := cmp.Diff(before, tagsOf(t, s.target, n)); diff != "" {
		t.Errorf("tags (-want +got):\n%s", diff)
	}
}

// TestUndoBelievesSignedRecordsAlone where there are keys.
func TestUndoBelievesSignedRecordsAlone(t *testing.T) {
	t.Parallel()
	own, other := newKeyPair(t), newKeyPair(t)
	for _, row := range []struct {
		description, signer, believed string
		status                        int
	}{
		{"no keys", "", "", 0}, {"its key", own.private, own.public, 0}, {"of two keys", own.private, other.public + own.public, 0},
		{"not signed", "", own.public, 3}, {"another's", other.private, own.public, 3},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s, held := forcedStage(t, "RECORD_KEY", row.signer)
			variables := s.with("UNDO", "true", "RECORD_PUBLIC_KEY", row.believed)
			if row.believed != "" {
				variables["RECORD_KEY"] = own.private
			}
			got := promote(t, variables)
			want := map[bool]string{true: held, false: s.digest}[row.status == 0]
			if now := holds(t, s.target, hello+":1.0"); got.status != row.status || now != want {
				t.Errorf("status %d, the tag holds %q, want %q: %s", got.status, now, want, got.last)
			}
		})
	}
}

// TestAnUndoingWhoseRecordWouldNotCountIsRefused: a job that is retried would undo again, and go two versions back.
func TestAnUndoingWhoseRecordWouldNotCountIsRefused(t *testing.T) {
	t.Parallel()
	own, other := newKeyPair(t), newKeyPair(t)
	for _, row := range []struct {
		description string
		variables   []string
		says        string
	}{
		{"no record", []string{"RECORD", "false"}, "RECORD=false and UNDO are both set"},
		{"one that nobody signs", []string{"RECORD_PUBLIC_KEY", own.public}, "RECORD_KEY is missing"},
		{"one that is not believed", []string{"RECORD_PUBLIC_KEY", own.public, "RECORD_KEY", other.private}, "RECORD_KEY is none of RECORD_PUBLIC_KEY"},
		{"a key that is none", []string{"RECORD_PUBLIC_KEY", own.public, "RECORD_KEY", "x"}, "RECORD_KEY: reading the key"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s, _ := forcedStage(t, "RECORD_KEY", own.private)
			if got := promote(t, s.with(append(row.variables, "UNDO", "true")...)); got.status != 2 || !strings.Contains(got.last, row.says) ||
				len(s.target.Requests()) > 0 {
				t.Errorf("status %d, last line %q; 2 and %q are wanted", got.status, got.last, row.says)
			}
		})
	}
}

// TestAnUndoingStartedAgainGoesNoFurther: the image that it brings back had replaced another one by force itself.
func TestAnUndoingStartedAgainGoesNoFurther(t *testing.T) {
	t.Parallel()
	keys := newKeyPair(t)
	for description, variables := range map[string][]string{
		"unsigned": nil, "signed": {"RECORD_KEY", keys.private}, "believed": {"RECORD_KEY", keys.private, "RECORD_PUBLIC_KEY", keys.public},
	} {
		t.Run(description, func(t *testing.T) {
			t.Parallel()
			s, _ := forcedStage(t, variables...)
			second := s.digest
			push(t, s.source, hello+":1.0", twoPlatforms(t, "third"))
			if got := promote(t, s.with(append(variables, "FORCE", "true", "FORCE_REASON", "another patch")...)); got.status != 0 {
				t.Fatal(got.log)
			}
			for _, promotion := range []string{"undone", "same", "same"} {
				got := promote(t, s.with(append(variables, "UNDO", "true")...))
				if got.status != 0 || got.results["PROMOTION"] != promotion || holds(t, s.target, hello+":1.0") != second {
					t.Errorf("status %d, results %v, the tag holds %q, want %q: %s",
						got.status, got.results, holds(t, s.target, hello+":1.0"), second, got.last)
				}
			}
		})
	}
}
