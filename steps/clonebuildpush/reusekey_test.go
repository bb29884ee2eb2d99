package clonebuildpush

import (
	"reflect"
	"testing"

	"dockline/e2e/gitserver"
)

func TestWhatMakesAnotherKey(t *testing.T) {
	t.Parallel()
	dockerfile := func(text string) map[string]string {
		return map[string]string{"hello_v1.0/Dockerfile": text, "hello_v1.0/page": "one", "hello_v1.0/.dockerignore": "*.md\n", "hello_v1.0/a.md": "a"}
	}
	const plain = "FROM scratch AS first\nCOPY page /page\nFROM first\nCOPY page /two\n"
	for _, test := range []struct {
		description string
		files       map[string]string // of the second commit
		changes     []string          // of its environment
		reused      bool
	}{
		{"nothing", dockerfile(plain), nil, true},
		{"another version, and further tags", dockerfile(plain), []string{"IMAGE", "deepsky/hello:2.0", "EXTRA_TAGS", "latest"}, true},
		{"a Git tag", dockerfile(plain), []string{"GIT_TAG", "v3.0", "IMAGE", "deepsky/hello:3.0"}, true},
		{"the value of a build secret", dockerfile(plain), []string{"BUILD_SECRET_NPM", "s3cr3t-other"}, true},
		{"a file that is ignored", merged(dockerfile(plain), "hello_v1.0/a.md", "b"), nil, true},
		{"the name of the branch", dockerfile(plain), []string{"GIT_BRANCH", "main"}, true},
		{"a platform that is this machine's", dockerfile(plain), []string{"PLATFORM", orOwnPlatform("")}, true},
		{"the same argument from a file that is ignored", merged(dockerfile(plain), "hello_v1.0/args.md", "A=1\n"), []string{"BUILD_ARGS", "", "BUILD_ARGS_FILE", "args.md"}, true},
		{"a page", merged(dockerfile(plain), "hello_v1.0/page", "two"), nil, false},
		{"a comment in the Dockerfile", dockerfile(plain + "# x\n"), nil, false},
		{"a build argument", dockerfile(plain), []string{"BUILD_ARGS", "A=2"}, false},
		{"the target", dockerfile(plain), []string{"BUILD_TARGET", "first"}, false},
		{"the platform", dockerfile(plain), []string{"PLATFORM", "linux/s390x"}, false},
		{"an index", dockerfile(plain), []string{"PLATFORMS", orOwnPlatform("")}, false},
		{"a label", dockerfile(plain), []string{"LABELS", "team=red"}, false},
		{"the title", dockerfile(plain), []string{"LABELS", labelTitle + "=x"}, false},
		{"a version by hand", dockerfile(plain), []string{"LABELS", labelVersion + "=x"}, false},
		{"the project", dockerfile(plain), []string{"PROJECT_URL", "https://git.example.com/other"}, false},
		{"another build secret", dockerfile(plain), []string{"BUILD_SECRET_PIP", "s3cr3t-other"}, false},
		{"reproducible", dockerfile(plain), []string{"REPRODUCIBLE", "true"}, false},
		{"provenance", dockerfile(plain), []string{"PROVENANCE", "true"}, false},
		{"an SBOM", dockerfile(plain), []string{"SBOM", "true"}, false},
		{"an annotation", dockerfile(plain), []string{"ANNOTATIONS", "a=b"}, false},
		{"media types", dockerfile(plain), []string{"MEDIA_TYPES", "docker"}, false},
		{"an argument of a file", merged(dockerfile(plain), "hello_v1.0/args.md", "B=1\n"), []string{"BUILD_ARGS_FILE", "args.md"}, false},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.env["REUSE"], s.env["BUILD_ARGS"], s.env["BUILD_SECRET_NPM"] = reuseUnchanged, "A=1", "s3cr3t-npm"
			s.commitFiles(dockerfile(plain))
			s.mustRun()
			hash := s.commitFiles(merged(test.files, "README", "another commit"))
			if err := gitserver.Tag(s.repo, "v3.0", hash, ""); err != nil {
				t.Fatal(err)
			}
			s.mustRun(append([]string{"GIT_REVISION", hash}, test.changes...)...)
			if got := len(s.builder.requests) == 1; got != test.reused {
				t.Errorf("%d builds, keys %v", len(s.builder.requests), s.keyTags())
			}
		})
	}
}

// TestEachIngredientIsInTheKey: another value of each one makes another key, and no two of these keys are the same.
func TestEachIngredientIsInTheKey(t *testing.T) {
	t.Parallel()
	rows := []struct {
		field  string // of ingredients
		change func(*ingredients)
	}{
		{"Builder", func(i *ingredients) { i.Builder = []string{"dockline 2", "kaniko 1"} }},
		{"Builder", func(i *ingredients) { i.Builder = append(i.Builder, "executor sha256:1") }},
		{"Sources", func(i *ingredients) { i.Sources = "sha256:2" }},
		{"Dockerfile", func(i *ingredients) { i.Dockerfile = []byte("FROM a\n\n") }},
		{"BuildArgs", func(i *ingredients) { i.BuildArgs = map[string]string{"A": "2"} }},
		{"BuildArgs", func(i *ingredients) { i.BuildArgs = map[string]string{"B": "1"} }},
		{"BuildArgs", func(i *ingredients) { i.BuildArgs = nil }},
		{"Target", func(i *ingredients) { i.Target = "other" }},
		{"Platforms", func(i *ingredients) { i.Platforms = []string{"linux/arm64"} }},
		{"Platforms", func(i *ingredients) { i.Platforms = append(i.Platforms, "linux/arm64") }},
		{"Index", func(i *ingredients) { i.Index = true }},
		{"Images", func(i *ingredients) { i.Images = map[string]string{"a": "sha256:2"} }},
		{"Images", func(i *ingredients) { i.Images = map[string]string{"b": "sha256:1"} }},
		{"Secrets", func(i *ingredients) { i.Secrets = []string{"PIP"} }},
		{"Labels", func(i *ingredients) { i.Labels = map[string]string{"team": "red"} }},
		{"Annotations", func(i *ingredients) { i.Annotations = map[string]string{"a": "c"} }},
		{"MediaTypes", func(i *ingredients) { i.MediaTypes = "oci" }},
		{"Reproducible", func(i *ingredients) { i.Reproducible = true }},
		{"Provenance", func(i *ingredients) { i.Provenance = true }},
		{"SBOM", func(i *ingredients) { i.SBOM = true }},
	}
	plain := func() ingredients {
		return ingredients{
			Builder: []string{"dockline 1", "kaniko 1"}, Sources: "sha256:1", Dockerfile: []byte("FROM a\n"),
			BuildArgs: map[string]string{"A": "1"}, Target: "one", Platforms: []string{"linux/amd64"},
			Images: map[string]string{"a": "sha256:1"}, Secrets: []string{"NPM"}, Labels: map[string]string{"team": "blue"},
			Annotations: map[string]string{"a": "b"}, MediaTypes: "docker",
		}
	}
	unchanged, err := plain().key()
	if err != nil {
		t.Fatal(err)
	}
	seen, tried := map[string]string{unchanged: "nothing"}, map[string]bool{}
	for _, row := range rows {
		what := plain()
		row.change(&what)
		key, err := what.key()
		if err != nil {
			t.Fatal(err)
		}
		if other := seen[key]; other != "" {
			t.Errorf("another %s makes the key of: %s", row.field, other)
		}
		seen[key], tried[row.field] = "another "+row.field, true
	}
	for _, field := range reflect.VisibleFields(reflect.TypeFor[ingredients]()) {
		if !tried[field.Name] {
			t.Errorf("%s is not tried", field.Name)
		}
	}
}

// merged is files with one more.
func merged(files map[string]string, name, text string) map[string]string {
	out := map[string]string{name: text}
	for name, text := range files {
		if _, own := out[name]; !own {
			out[name] = text
		}
	}
	return out
}
