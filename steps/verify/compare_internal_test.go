package verify

import (
	"testing"
	"time"

	"dockline/pkg/imagestream"
)

func TestRelate(t *testing.T) {
	t.Parallel()
	early, late := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), time.Date(2026, 2, 2, 3, 4, 5, 0, time.UTC)
	for _, row := range []struct {
		name        string
		here, there Compared
		want        Relation
	}{
		{"one digest, whatever the labels say", Compared{Digest: "a", Version: "1.0"}, Compared{Digest: "a", Version: "2.0"}, same},
		{"here is an image of the index there", Compared{Digest: "a"}, Compared{Digest: "i", children: []string{"b", "a"}}, same},
		{"there is an image of the index here", Compared{Digest: "i", children: []string{"b", "a"}}, Compared{Digest: "a"}, same},
		{"a newer version", Compared{Digest: "a", Version: "v1.10"}, Compared{Digest: "b", Version: "1.9"}, ahead},
		{"an older version", Compared{Digest: "a", Version: "1.0-rc.1"}, Compared{Digest: "b", Version: "1.0"}, behind},
		{"built later", Compared{Digest: "a", Built: late}, Compared{Digest: "b", Built: early}, ahead},
		{"the same version, built earlier", Compared{Digest: "a", Version: "1.0", Built: early}, Compared{Digest: "b", Version: "1.0", Built: late}, behind},
		{"a branch's version, built later", Compared{Digest: "a", Version: "develop-0e0cf4c8", Built: late},
			Compared{Digest: "b", Version: "1.0", Built: early}, ahead},
		{"version and time agree", Compared{Digest: "a", Version: "1.1", Built: late}, Compared{Digest: "b", Version: "1.0", Built: early}, ahead},
		{"they contradict each other", Compared{Digest: "a", Version: "1.1", Built: early}, Compared{Digest: "b", Version: "1.0", Built: late}, different},
		{"one says nothing", Compared{Digest: "a"}, Compared{Digest: "b", Version: "1.0", Built: late}, different},
		{"one revision, built twice in one second", Compared{Digest: "a", Revision: "r", Built: late}, Compared{Digest: "b", Revision: "r", Built: late}, different},
	} {
		if got, reason := relate(row.here, row.there); got != row.want || reason == "" {
			t.Errorf("%s: %s (%s), want %s", row.name, got, reason, row.want)
		}
	}
}

func TestBuilt(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	label := map[string]string{"org.opencontainers.image.created": "2026-01-02T04:04:05+01:00"}
	for _, row := range []struct {
		name string
		pull imagestream.Pull
		want time.Time
	}{
		{"by its configuration", imagestream.Pull{Created: at}, at},
		{"by its label, where the configuration leaves time out", imagestream.Pull{Created: time.Unix(0, 0), Labels: label}, at},
		{"by neither", imagestream.Pull{Created: time.Date(1980, 1, 1, 0, 0, 1, 0, time.UTC)}, time.Time{}},
		{"by a label that is no time", imagestream.Pull{Labels: map[string]string{"org.opencontainers.image.created": "yesterday"}}, time.Time{}},
	} {
		if got := built(row.pull); !got.Equal(row.want) {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}

func TestValidateCompared(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		with, expected string
		ok             bool
	}{
		{"", "", true},
		{"prod/hello-app:prod", "", true},
		{"prod/hello-app:prod", "same-or-ahead", true},
		{"", "same", false},
		{"prod/hello-app:prod", "newer", false},
		{"hello-app:prod", "", false},
		{"/hello-app:prod", "", false},
		{"prod/", "", false},
		{"prod/hello-app", "", false},
		{"Prod/hello-app:prod", "", false},
		{"a/b/hello-app:prod", "", false},
		{"../hello-app:prod", "", false},
	} {
		err := (&Config{CompareWith: row.with, ExpectCompared: row.expected}).validateCompared()
		if (err == nil) != row.ok {
			t.Errorf("COMPARE_WITH=%q EXPECT_COMPARED=%q: %v", row.with, row.expected, err)
		}
	}
}
