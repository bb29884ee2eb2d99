package clonebuildpush

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/git"
	"dockline/pkg/image"
)

const hash = "0e0cf4c8bb274194d0a5524d37f1874ecfda99b3"

func TestNewPlan(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC)
	committed := git.Commit{Hash: hash, Time: time.Date(2025, 6, 7, 8, 9, 10, 0, time.FixedZone("", 7200))}
	hello := func(version string) image.Image { return image.Image{Name: "deepsky/hello", Version: version} }
	labels := func(more map[string]string) map[string]string {
		out := map[string]string{
			labelRevision: hash, labelSource: "https://git.example.com/hello.git", labelTitle: "hello",
			labelCreated: "2026-01-02T03:04:05Z",
		}
		for name, value := range more {
			if out[name] = value; value == "" {
				delete(out, name)
			}
		}
		return out
	}

	for _, test := range []struct {
		description string
		config      Config
		from        source
		want        plan
	}{
		{
			"a version of one's own", Config{Image: "deepsky/hello:1.0"}, source{Commit: committed, Branch: "develop"},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(nil)},
		},
		{
			"a branch gives its name and the commit", Config{Image: "deepsky/hello"}, source{Commit: committed, Branch: "feature/Login"},
			plan{Image: hello("feature-login-0e0cf4c8"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(nil)},
		},
		{
			"a Git tag gives the version, once", Config{Image: "deepsky/hello"}, source{Commit: committed, Tag: "v1.2.0"},
			plan{Image: hello("1.2.0"), CommitTag: "commit-" + hash, Labels: labels(map[string]string{labelVersion: "1.2.0"})},
		},
		{
			"a Git tag goes before the branch", Config{Image: "deepsky/hello"}, source{Commit: committed, Tag: "v1.2.0", Branch: "main"},
			plan{Image: hello("1.2.0"), CommitTag: "commit-" + hash, Labels: labels(map[string]string{labelVersion: "1.2.0"})},
		},
		{
			"a bare hash gives the commit", Config{Image: "deepsky/hello"}, source{Commit: committed},
			plan{Image: hello("0e0cf4c8"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(nil)},
		},
		{
			"a release that may be replaced", Config{Image: "deepsky/hello", Overwrite: "true"}, source{Commit: committed, Tag: "v1"},
			plan{Image: hello("1"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(map[string]string{labelVersion: "1"})},
		},
		{
			"a branch's version that may not be replaced", Config{Image: "deepsky/hello:1.0", Overwrite: "false"}, source{Commit: committed, Branch: "main"},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Labels: labels(nil)},
		},
		{
			"further tags, each once", Config{Image: "deepsky/hello:1.0", ExtraTags: []string{"latest", "1.0", "latest"}}, source{Commit: committed},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, ExtraTags: []string{"latest"}, Overwrite: true, Labels: labels(nil)},
		},
		{
			"labels of one's own", Config{Image: "deepsky/hello:1.0", Labels: "team=blue," + labelTitle + "=Hello"}, source{Commit: committed},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(map[string]string{"team": "blue", labelTitle: "Hello"})},
		},
		{
			"a reproducible build has the commit's time", Config{Image: "deepsky/hello:1.0", Reproducible: true}, source{Commit: committed},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(map[string]string{labelCreated: "2025-06-07T06:09:10Z"}), Created: committed.Time.UTC()},
		},
		{
			"a work tree without Git", Config{Image: "deepsky/hello:1.0"}, source{},
			plan{Image: hello("1.0"), Overwrite: true, Labels: labels(map[string]string{labelRevision: ""})},
		},
		{
			"the source label has no credentials, and may be the project's page", Config{Image: "deepsky/hello:1.0", ProjectURL: "https://u:s3cr3t@git.example.com/team/hello"}, source{Commit: committed},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(map[string]string{labelSource: "https://git.example.com/team/hello"})},
		},
		{
			"a local repository has no source label", Config{Image: "deepsky/hello:1.0", GitURL: "/srv/hello.git"}, source{Commit: committed},
			plan{Image: hello("1.0"), CommitTag: "commit-" + hash, Overwrite: true, Labels: labels(map[string]string{labelSource: ""})},
		},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			if test.config.GitURL == "" {
				test.config.GitURL = "https://git.example.com/hello.git"
			}
			if test.want.Created.IsZero() {
				test.want.Created = now.Truncate(time.Second)
			}
			got, err := newPlan(&test.config, test.from, now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}

	if _, err := newPlan(&Config{Image: "deepsky/hello"}, source{}, now); err == nil {
		t.Error("a version was made of nothing")
	}
}

func TestPairs(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, text string
		want              map[string]string
		wrong             bool
	}{
		{"nothing", "", map[string]string{}, false},
		{"by commas", "A=1, B=x=y ,", map[string]string{"A": "1", "B": "x=y"}, false},
		{"by lines", "A=1,2\nB=3\n", map[string]string{"A": "1,2", "B": "3"}, false},
		{"one line that ends", "A=1,B=2\n", map[string]string{"A": "1", "B": "2"}, false},
		{"an empty value", "A=", map[string]string{"A": ""}, false},
		{"no value", "s3cr3t", nil, true},
		{"no name", "=1", nil, true},
		{"twice", "A=1,A=2", nil, true},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			got, err := pairs(test.text)
			if diff := cmp.Diff(test.want, got); diff != "" || (err != nil) != test.wrong {
				t.Errorf("error %v, pairs (-want +got):\n%s", err, diff)
			}
		})
	}
}

func TestEveryVariableIsExplained(t *testing.T) {
	t.Parallel()
	for _, variable := range program(nil, "/").Variables() {
		if len(variable.Meaning) < 20 {
			t.Errorf("%s has no doc comment: %q", variable.Name, variable.Meaning)
		}
	}
}

// TestIgnored: what a pattern says of a folder holds for what is in it.
func TestIgnored(t *testing.T) {
	t.Parallel()
	for patterns, want := range map[string]string{
		"**/.git\n":          "**/.git\n**/.git/**\n",
		"docs/\n!docs/api\n": "docs/\ndocs/**\n!docs/api\n!docs/api/**\n",
		"# a remark\n\n!\n":  "# a remark\n\n!\n",
		"":                   "",
	} {
		if got := ignored(patterns); got != want {
			t.Errorf("%q becomes %q, want %q", patterns, got, want)
		}
	}
}
