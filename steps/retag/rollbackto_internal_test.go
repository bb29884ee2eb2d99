package retag

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/imagestream"
)

func TestParseDestination(t *testing.T) {
	t.Parallel()
	digest := "sha256:" + strings.Repeat("a", 64)
	for _, row := range []struct {
		text string
		want destination
		ok   bool
	}{
		{"1.0", destination{version: "1.0"}, true},
		{"develop-1a2b3c4d", destination{version: "develop-1a2b3c4d"}, true},
		{"12", destination{version: "12"}, true},
		{"0", destination{version: "0"}, true},
		{"1.0h-rc", destination{version: "1.0h-rc"}, true},
		{digest, destination{digest: digest}, true},
		{digest[:19], destination{digest: digest[:19]}, true},
		{"2h", destination{age: 2 * time.Hour}, true},
		{"90m", destination{age: 90 * time.Minute}, true},
		{"3d", destination{age: 72 * time.Hour}, true},
		{"1d12h", destination{age: 36 * time.Hour}, true},
		{text: digest[:18]}, {text: digest + "a"}, {text: "sha256:" + strings.Repeat("A", 64)}, {text: "sha512:" + strings.Repeat("a", 64)},
		{text: "0h"}, {text: "0d"}, {text: "-2h"}, {text: "9999999d"}, {text: "2000000h"}, {text: "1d-48h"},
		{text: "a b"}, {text: "deepsky/hello:1.0"}, {text: ".."}, {text: strings.Repeat("1", 129)},
	} {
		got, err := parseDestination(row.text)
		if (err == nil) != row.ok || got != row.want {
			t.Errorf("%q: %+v, %v", row.text, got, err)
		}
	}
}

// TestDestinations has a tag that meant, from now on backwards, 1.1, 1.0 patched, 1.0, and something unknown.
func TestDestinations(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)
	const n, p, o, u = "sha256:dddddddddddd4", "sha256:cccccccccccc3", "sha256:bbbbbbbbbbbb2", "sha256:bbbbbbbbbbbb1"
	item := func(digest string, hours int) imagestream.Item {
		return imagestream.Item{Digest: digest, Reference: "r.test/a/b@" + digest, Created: now.Add(-time.Duration(hours) * time.Hour), Generation: 4}
	}
	tag := imagestream.Tag{
		From:        imagestream.From{Kind: imagestream.DockerImage, Name: "r.test/a/b:1.1"},
		History:     []imagestream.Item{item(n, 1), item(p, 5), item(o, 9), item(u, 20)},
		Annotations: map[string]string{versionsAnnotation: p + "=1.0 " + o + "=1.0 " + o + "=1.0-rc.1 broken sha256:x= =y"},
	}
	back := func(digest, from string) imagestream.Tag {
		after := tag
		after.From = imagestream.From{Kind: imagestream.ImageStreamImage, Name: "hello-app@" + digest}
		after.History = append([]imagestream.Item{item(digest, 0)}, tag.History...)
		after.Annotations = map[string]string{rolledBackFrom: from, versionsAnnotation: n + "=1.1 " + tag.Annotations[versionsAnnotation]}
		return after
	}
	failed := tag
	failed.Failure = &imagestream.Failure{Reason: "NotFound", Generation: 5}
	unclear := tag
	unclear.History = append([]imagestream.Item{{Digest: n}}, tag.History[1:]...)
	patched := tag
	patched.From.Name, patched.History = "r.test/a/b:1.0", tag.History[1:]
	for _, row := range []struct {
		name string
		tag  imagestream.Tag
		to   destination
		want []string
	}{
		{"an earlier version, which was patched", tag, destination{version: "1.0"}, []string{p, o}},
		{"another name of an earlier version", tag, destination{version: "1.0-rc.1"}, []string{o}},
		{"the present version", tag, destination{version: "1.1"}, []string{n}},
		{"a version whose import failed", failed, destination{version: "1.1"}, nil},
		{"a version that it never was", tag, destination{version: "0.9"}, nil},
		{"the present version, before it was patched", patched, destination{version: "1.0"}, []string{o, p}},
		{"a version, again", back(p, n), destination{version: "1.0"}, []string{p}},
		{"another version than before", back(p, n), destination{version: "1.0-rc.1"}, []string{o}},
		{"the version that it was taken away from", back(p, n), destination{version: "1.1"}, []string{n}},
		{"a digest", tag, destination{digest: o}, []string{o}},
		{"the beginning of one", tag, destination{digest: "sha256:cccccccccccc"}, []string{p}},
		{"the beginning of two", tag, destination{digest: "sha256:bbbbbbbbbbbb"}, []string{o, u}},
		{"a digest that it never was", tag, destination{digest: "sha256:eeeeeeeeeeee"}, nil},
		{"what it was a while ago", tag, destination{age: 2 * time.Hour}, []string{p}},
		{"to the very second", tag, destination{age: 5 * time.Hour}, []string{p}},
		{"long ago", tag, destination{age: 19 * time.Hour}, []string{u}},
		{"what it is now", tag, destination{age: time.Minute}, []string{n}},
		{"before there was anything", tag, destination{age: 21 * time.Hour}, nil},
		{"an age, again", back(p, n), destination{age: 30 * time.Minute}, []string{p}},
		{"an age, of an image without a time", unclear, destination{age: time.Hour}, []string{p}},
		{"nothing at all", imagestream.Tag{}, destination{version: "1.0"}, nil},
		{"nothing at all, long ago", imagestream.Tag{}, destination{age: time.Hour}, nil},
	} {
		if diff := cmp.Diff(row.want, row.to.in(row.tag, now)); diff != "" {
			t.Errorf("%s: (-want +got)\n%s", row.name, diff)
		}
	}
}

func TestHistoryInWords(t *testing.T) {
	t.Parallel()
	now := time.Now()
	tag := imagestream.Tag{
		From:        imagestream.From{Kind: imagestream.DockerImage, Name: "r.test/a/b:1.1"},
		Annotations: map[string]string{versionsAnnotation: "sha256:bbbbbbbbbbbbbbb=1.0"},
		History: []imagestream.Item{
			{Digest: "sha256:aaaaaaaaaaaaaaa", Reference: "r.test/a/b@sha256:aaaaaaaaaaaaaaa", Created: now.Add(-time.Minute)},
			{Digest: "sha256:bbbbbbbbbbbbbbb", Reference: "r.test/a/b@sha256:bbbbbbbbbbbbbbb", Created: now.Add(-3 * time.Hour)},
		},
	}
	want := "It has sha256:aaaaaaaaaaaa (60 seconds ago, r.test/a/b:1.1); sha256:bbbbbbbbbbbb (3 hours ago, r.test/a/b:1.0)"
	if got := history(tag, now); got != want {
		t.Errorf("%q, want %q", got, want)
	}
	for range 2000 {
		tag.History = append(tag.History, tag.History[1])
	}
	if got := history(tag, now); len(got) > 1000 || !strings.HasSuffix(got, "; 1992 older ones") {
		t.Errorf("%q", got)
	}
	if got := history(imagestream.Tag{}, now); got != "It is empty" {
		t.Errorf("%q", got)
	}
}
