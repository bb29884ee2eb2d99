package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	shipped = "../../tekton"
	lintDir = "../../.build/tekton-lint"
)

func findings(t *testing.T, dir string) []string {
	t.Helper()
	objects, found := read(dir)
	found = append(found, validateAll(t.Context(), objects)...)
	_, wrong := references(objects)
	return append(found, wrong...)
}

func TestWhatIsShippedIsRight(t *testing.T) {
	t.Parallel()
	for _, finding := range findings(t, shipped) {
		t.Error(finding)
	}
}

// TestEveryCheckCanFail breaks one thing at a time in a copy of the files.
func TestEveryCheckCanFail(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, file, old, new, finding string }{
		{"an unknown field of a Task", "tasks/promote.yaml", "command:", "comand:", "comand"},
		{"an unknown field of a security context", "tasks/promote.yaml", "readOnlyRootFilesystem:", "readonlyRootFilesystem:", "readonlyRootFilesystem"},
		{"a parameter that is not declared", "tasks/verify.yaml", "$(params.url)", "$(params.uri)", "$(params.uri)"},
		{"a default of another type", "tasks/retag.yaml", `default: ""`, "default: [a]", "type"},
		{"a result of an unknown type", "tasks/retag.yaml", "type: string", "type: text", "type"},
		{"a mount below /tekton", "tasks/retag.yaml", "mountPath: /kaniko/ca", "mountPath: /tekton/ca", "/tekton/"},
		{"a volume of no kind", "tasks/retag.yaml", "configMap:", "confMap:", "confMap"},
		{"a Task without an image", "tasks/clone-build-push.yaml", "    image: registry.example.com/dockline/dockline:0.1.0\n", "", "missing field(s): spec.steps[0].Image"},
		{"a parameter that a Task does not know", "build/build-to-dev.yaml", "- name: create-app\n          value", "- name: create-apps\n          value", "does not know"},
		{"a parameter that a Task must have", "build/build-to-dev.yaml", "        - name: namespace\n          value: $(params.namespace)\n", "", "is not given namespace"},
		{"a parameter that the pipeline does not declare", "build/build-to-dev.yaml", "value: $(params.url)", "value: $(params.address)", "address"},
		{"a task that is not there", "build/build-to-dev.yaml", "runAfter: [retag]", "runAfter: [tag]", "tag"},
		{"a Task that is not there", "release/rollback.yaml", "        name: verify", "        name: look", "there is no Task"},
		{"a result that a Task does not have", "release/promote-to-prod.yaml", "results.PROMOTED_IMAGE", "results.IMAGE", "no such result"},
		{"a parameter that a pipeline does not know", "examples/rollback.yaml", "name: stream-tag", "name: stream", "does not know"},
		{"a run without a ServiceAccount", "examples/rollback.yaml", "    - pipelineTaskName: verify\n      serviceAccountName: verify\n", "", "under default"},
		{"a ServiceAccount that is not there", "build/gitlab.yaml", "serviceAccountName: clone-build-push", "serviceAccountName: builder", "there is no ServiceAccount"},
		{"an unknown field of a triggered run", "build/gitlab.yaml", "taskRunSpecs:", "taskRunSpec:", "taskRunSpec"},
		{"a triggered value that is not declared", "build/gitlab.yaml", "$(tt.params.git-tag)", "$(tt.params.tag)", "undeclared param"},
		{"a listener of nothing", "build/gitlab.yaml", "listener: gitlab", "listener: github", "selects no Trigger"},
		{"an interceptor that is not named", "build/hello-app.yaml", "name: cel", "names: cel", "names"},
		{"a value that is bound to nothing", "build/hello-app.yaml", "    - name: image\n      value: deepsky/awl-deepsky-hello\n", "", "bound to nothing"},
		{"an unknown field of a Role", "environment/roles.yaml", "verbs: [list]", "verb: [list]", "verb"},
		{"a Role that is not there", "prod/bindings.yaml", "  name: dockline-tag\nsubjects", "  name: dockline-push\nsubjects", "there is no Role"},
		{"an account of another namespace", "prod/bindings.yaml", "namespace: dockline-release", "namespace: dockline", "there is no ServiceAccount"},
		{"a file that is not there", "build/kustomization.yaml", "- gitlab.yaml", "- github.yaml", "github.yaml"},
		{"an unknown kind", "build/namespace.yaml", "kind: Namespace", "kind: Project", "is not known here"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			found := findings(t, broken(t, row.file, row.old, row.new))
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, row.finding) }) {
				t.Errorf("no finding has %q: %q", row.finding, found)
			}
		})
	}
}

func TestLintCanFail(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, file, old, new, finding string }{
		{"an undefined parameter", "tasks/verify.yaml", "$(params.url)", "$(params.uri)", "no-undefined-param"},
		{"an unused parameter", "release/rollback.yaml", "value: $(params.expect-text)", `value: ""`, "no-unused-param"},
		{"the latest image", "tasks/verify.yaml", "dockline:0.1.0", "dockline:latest", "no-latest-image"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			files, found, err := lint(t.Context(), broken(t, row.file, row.old, row.new), lintDir)
			if err != nil || files == 0 {
				t.Fatalf("%d files: %v", files, err)
			}
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, row.finding) }) {
				t.Errorf("no finding has %q: %q", row.finding, found)
			}
		})
	}
}

// broken copies what is shipped, with one thing changed.
func broken(t *testing.T, file, from, to string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tekton")
	if err := os.CopyFS(dir, os.DirFS(shipped)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, file)
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(content), from) {
		t.Fatalf("%s has no %q", file, from)
	}
	if err := os.WriteFile(path, []byte(strings.Replace(string(content), from, to, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}
