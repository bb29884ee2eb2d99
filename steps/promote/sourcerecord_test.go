package promote

import (
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/record"
)

// TestRecordsOfTheSourceAreNotBelieved: whoever may push in testing alone attaches what would have UNDO move production's
// tag, or keep it from moving.
func TestRecordsOfTheSourceAreNotBelieved(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{record.Forced, record.Undone, record.Copied} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, s *stage) {
				held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
				wanted := push(t, s.target, hello+":0.1", twoPlatforms(t, "vulnerable"))
				to := s.target.Host() + "/" + hello
				fake := record.Promotion{Kind: kind, To: to + ":1.0", Digest: s.digest, Time: time.Now().Add(30 * time.Second), Tool: "x"}
				if kind == record.Forced {
					fake.Replaced, fake.Backup = wanted, to+":0.1"
				}
				attach(t, s.source, record.Record{Image: hello, Digest: must(v1.NewHash(s.digest)), Promotion: &fake}, nil)
				if got := promote(t, s.with("FORCE", "true", "FORCE_REASON", "why")); got.status != 0 {
					t.Fatal(got.log)
				}
				if all := recordsOf(t, s.target, s.digest, nil); len(all) != 1 || all[0].Promotion.Replaced != held {
					t.Errorf("recorded in the target: %+v", all)
				}
				if got := promote(t, s.with()); got.status != 0 || len(recordsOf(t, s.target, s.digest, nil)) != 1 {
					t.Errorf("completed by the next run: %s", got.last)
				}
				if got := promote(t, s.with("UNDO", "true")); got.status != 0 || holds(t, s.target, hello+":1.0") != held {
					t.Errorf("status %d, the tag holds %q, want %q: %s", got.status, holds(t, s.target, hello+":1.0"), held, got.last)
				}
			})
		})
	}
}

func TestARecordFromTheFutureEndsAnUndoing(t *testing.T) {
	t.Parallel()
	s, held := forcedStage(t)
	attach(t, s.target, record.Record{Image: hello, Digest: must(v1.NewHash(s.digest)), Promotion: &record.Promotion{
		Kind: record.Forced, To: s.target.Host() + "/" + hello + ":1.0", Digest: s.digest, Time: time.Now().Add(time.Hour),
		Replaced: held, Backup: s.target.Host() + "/" + backupOf(held), Tool: "x",
	}}, nil)
	s.target.Forget()
	got := promote(t, s.with("UNDO", "true"))
	if got.status != 3 || !strings.Contains(got.last, "in the future") || len(writes(s.target)) > 0 {
		t.Errorf("status %d, writes %v: %s", got.status, writes(s.target), got.last)
	}
}
