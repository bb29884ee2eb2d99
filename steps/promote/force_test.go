package promote

import (
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
)

// backupOf returns the default backup tag of version 1.0.
func backupOf(digest string) string {
	return hello + ":1.0-replaced-" + strings.TrimPrefix(digest, "sha256:")[:8]
}

func TestForce(t *testing.T) {
	t.Parallel()
	const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	for _, row := range []struct {
		description string
		variables   func(held string) []string
		status      int
		promotion   string
	}{
		{"FORCE", func(string) []string { return []string{"FORCE", "true", "FORCE_REASON", "why"} }, 0, "forced"},
		{"FORCE_REPLACES names it", func(held string) []string { return []string{"FORCE_REPLACES", held} }, 0, "forced"},
		{"FORCE_REPLACES names another", func(string) []string { return []string{"FORCE_REPLACES", zeros} }, 3, ""},
		{"FORCE_REPLACES names another, FORCE or not", func(string) []string {
			return []string{"FORCE_REPLACES", zeros, "FORCE", "true", "FORCE_REASON", "why"}
		}, 3, ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
			got := promote(t, s.with(row.variables(held)...))
			if got.status != row.status || got.results["PROMOTION"] != row.promotion {
				t.Fatalf("status %d, results %v: %s", got.status, got.results, got.log)
			}
			want, backup := s.digest, held
			if row.status != 0 {
				want, backup = held, ""
			}
			if now := holds(t, s.target, hello+":1.0"); now != want {
				t.Errorf("the tag holds %q, want %q", now, want)
			}
			if now := holds(t, s.target, backupOf(held)); now != backup {
				t.Errorf("the backup tag holds %q, want %q", now, backup)
			}
		})
	}
}

func TestForceTwiceKeepsBothImages(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	first := push(t, s.target, hello+":1.0", twoPlatforms(t, "first"))
	force := s.with("FORCE", "true", "FORCE_REASON", "a patch")
	for _, promotion := range []string{"forced", "same"} {
		if got := promote(t, force); got.status != 0 || got.results["PROMOTION"] != promotion {
			t.Fatalf("status %d, results %v, want %s: %s", got.status, got.results, promotion, got.log)
		}
	}
	third := push(t, s.source, hello+":1.0", twoPlatforms(t, "third"))
	if got := promote(t, force); got.status != 0 || got.results["PROMOTION"] != "forced" {
		t.Fatalf("status %d: %s", got.status, got.log)
	}
	for at, want := range map[string]string{
		hello + ":1.0": third, backupOf(first): first, backupOf(s.digest): s.digest,
	} {
		if now := holds(t, s.target, at); now != want {
			t.Errorf("%s holds %q, want %q", at, now, want)
		}
	}
}

func TestABackupTagIsNeverMoved(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	foreign := push(t, s.target, backupOf(held), twoPlatforms(t, "foreign"))
	got := promote(t, s.with("FORCE_REPLACES", held))
	if got.status != 3 || !strings.Contains(got.last, "BACKUP_TAG") || !strings.Contains(got.last, foreign) {
		t.Errorf("status %d, last line %q", got.status, got.last)
	}
	if now := holds(t, s.target, hello+":1.0"); now != held {
		t.Errorf("the tag holds %q, want still %q", now, held)
	}
	if now := holds(t, s.target, backupOf(held)); now != foreign {
		t.Errorf("the backup tag holds %q, want still %q", now, foreign)
	}
}

func TestARegistryThatRefusesToOverwrite(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 409, 412} {
		s := newStage(t)
		held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
		s.target.Break("PUT /manifests/1.0", 1, faultyregistry.Status(status, ""))
		// The fault matches the backup tag's path too, which begins with 1.0: let that one through.
		s.target.Break("PUT "+backupOf(held)[strings.Index(backupOf(held), ":")+1:], 1, faultyregistry.Then(func() {}))
		got := promote(t, s.with("FORCE_REPLACES", held))
		if got.status != 3 || !strings.Contains(got.last, "refuses to overwrite") || !strings.Contains(got.last, backupOf(held)) {
			t.Errorf("%d: status %d, last line %q", status, got.status, got.last)
		}
		if holds(t, s.target, hello+":1.0") != held || holds(t, s.target, backupOf(held)) != held || len(got.results) > 0 {
			t.Errorf("%d: the image was not kept in both places, or results were written: %v", status, got.results)
		}
	}
}

func TestInterruptedBetweenBackupAndTag(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	old := twoPlatforms(t, "0ld")
	held := push(t, s.target, hello+":1.0", old)
	push(t, s.target, backupOf(held), old)
	if got := promote(t, s.with("FORCE_REPLACES", held)); got.status != 0 || got.results["PROMOTION"] != "forced" {
		t.Fatalf("status %d: %s", got.status, got.log)
	}
	if holds(t, s.target, hello+":1.0") != s.digest || holds(t, s.target, backupOf(held)) != held {
		t.Error("a run after one that was broken off does not complete it")
	}
}

func TestRaces(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		at          string // the request after which somebody else writes the tag
		variables   []string
	}{
		{"after the decision", "PUT /blobs/", nil},
		{"after the decision, FORCE", "PUT /blobs/", []string{"FORCE", "true", "FORCE_REASON", "why"}},
		{"right after the write", "PUT /manifests/1.0", nil},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			other := twoPlatforms(t, "other")
			var theirs string
			s.target.Break(row.at, 1, faultyregistry.Then(func() { theirs = push(t, s.target, hello+":1.0", other) }))
			got := promote(t, s.with(row.variables...))
			if got.status != 3 || !strings.Contains(got.last, theirs) || len(got.results) > 0 {
				t.Errorf("status %d, results %v, last line %q; want 3 and the digest %s", got.status, got.results, got.last, theirs)
			}
			if now := holds(t, s.target, hello+":1.0"); now != theirs {
				t.Errorf("the tag holds %q, want what the other wrote, %q", now, theirs)
			}
		})
	}
}

func TestALostAnswerToTheTagsWriteIsNoFailure(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.target.Break("PUT /manifests/1.0", -1, faultyregistry.Lost())
	if got := promote(t, s.with()); got.status != 0 || got.results["PROMOTION"] != "copied" {
		t.Errorf("status %d: %s", got.status, got.log)
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("the tag holds %q, want %q", now, s.digest)
	}
}

func TestARegistryThatRefusesTheBackupTag(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 403, 405, 409, 412} {
		s := newStage(t)
		held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
		_, backup, _ := strings.Cut(backupOf(held), ":")
		s.target.Break("PUT /manifests/"+backup, -1, faultyregistry.Status(status, "DENIED"))
		got := promote(t, s.with("FORCE_REPLACES", held))
		if got.status != 3 || !strings.Contains(got.last, "refuses to write the backup tag") || !strings.Contains(got.last, "BACKUP_TAG") {
			t.Errorf("%d: status %d, last line %q", status, got.status, got.last)
		}
		if holds(t, s.target, hello+":1.0") != held || len(got.results) > 0 {
			t.Errorf("%d: the image was replaced, or results were written: %v", status, got.results)
		}
	}
}
