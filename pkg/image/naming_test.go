package image_test

import (
	"strings"
	"testing"

	"dockline/pkg/fault"
	"dockline/pkg/image"
)

func TestNamePattern(t *testing.T) {
	t.Parallel()
	const seed = "{code}/awl-{code}-{app}"
	for _, row := range []struct {
		pattern image.NamePattern
		name    string
		closest string // "" means that it fits
	}{
		{seed, "deepsky/awl-deepsky-hello", ""},
		{seed, "deepsky/awl-deepsky-hello-world", ""},
		{seed, "deep-sky/awl-deep-sky-hello", ""},
		{seed, "a/awl-a-a", ""},
		{seed, "deepsky/awl-other-hello", "deepsky/awl-deepsky-{app}"},
		{seed, "deepsky/awl-deepsky", "deepsky/awl-deepsky-{app}"},
		{seed, "deepsky/awl-deepsky-", "deepsky/awl-deepsky-{app}"},
		{seed, "deepsky/hello", "deepsky/awl-deepsky-{app}"},
		{seed, "deepsky/awl-deepskyhello", "deepsky/awl-deepsky-{app}"},
		{seed, "deepsky/awl-deepsky-hello/extra", "deepsky/awl-deepsky-hello"},
		{seed, "group/deepsky/awl-deepsky-hello", "group/awl-group-{app}"},
		{"{app}-{kind}/x", "a-b-c/x", ""},
		{"{app}-{kind}/{app}-{kind}", "a-b-c/a-b-c", ""},
		{"group/{project}/{app}", "group/p/a", ""},
		{"group/{project}/{app}", "other/p/a", "group/{project}/{app}"},
		{"deepsky/hello", "deepsky/hello", ""},
		{"deepsky/hello", "deepsky/hello2", "deepsky/hello"},
	} {
		closest, fits := row.pattern.Fit(row.name)
		if err := row.pattern.Check(); err != nil {
			t.Errorf("%s: %v", row.pattern, err)
		}
		if fits != (row.closest == "") || !fits && closest != row.closest {
			t.Errorf("%s, %s: fits: %t, closest %q; want %q", row.pattern, row.name, fits, closest, row.closest)
		}
	}
}

func TestNamePatternsThatAreNone(t *testing.T) {
	t.Parallel()
	for pattern, problem := range map[image.NamePattern]string{
		"":                                "each part",
		"{code":                           "placeholder is",
		"{Code}/x":                        "placeholder is",
		"{}/x":                            "placeholder is",
		"{a}{b}/x":                        "between two placeholders",
		"{a}/UPPER":                       "upper case",
		"/{a}":                            "each part",
		"{a}//{b}":                        "each part",
		"{a}:1.0":                         "each part",
		"{a}/b/c/{d}/{e}/{f}/{g}/{h}/{i}": "more than six",
		image.NamePattern(strings.Repeat("a", 300)): "more than 255",
	} {
		if err := pattern.Check(); fault.KindOf(err) != fault.Configuration || !strings.Contains(err.Error(), problem) {
			t.Errorf("%q: error %v, want %q", pattern, err, problem)
		}
	}
}

func FuzzNamePattern(f *testing.F) {
	f.Add("{code}/awl-{code}-{app}", "deepsky/awl-deepsky-hello")
	f.Add("{a}-{b}-{c}/{a}", "a-a-a-a-a/a")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		p := image.NamePattern(pattern)
		if p.Check() != nil || len(name) > 255 {
			return
		}
		if closest, fits := p.Fit(name); fits && closest != name {
			t.Errorf("%q fits %q, and is closest to %q", name, pattern, closest)
		}
	})
}
