package tekton

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestDigestsAreRequired: where a Task of a pipeline is handed a digest or an image, REQUIRE makes an empty one an error.
// Rollback alone takes an empty digest, for the image before.
func TestDigestsAreRequired(t *testing.T) {
	t.Parallel()
	required := 0
	for _, o := range objects(t) {
		if o.Kind != "Pipeline" {
			continue
		}
		var pipeline struct {
			Spec struct {
				Tasks []struct {
					Name   string
					Params []struct{ Name, Value string }
				}
			}
		}
		if err := yaml.Unmarshal(o.text, &pipeline); err != nil {
			t.Fatal(err)
		}
		for _, task := range pipeline.Spec.Tasks {
			given := map[string]string{}
			for _, p := range task.Params {
				given[p.Name] = p.Value
			}
			for _, name := range []string{"digest", "expect-digest"} {
				if given[name] == "" || given["rollback"] == "true" {
					continue
				}
				required++
				if variable := strings.ToUpper(strings.ReplaceAll(name, "-", "_")); !contains(given["require"], variable) {
					t.Errorf("%s: the task %s is handed %s, and requires %q", o.path, task.Name, name, given["require"])
				}
			}
		}
	}
	if required != 6 {
		t.Errorf("digests are handed on %d times, want 6", required)
	}
}

func contains(list, name string) bool {
	for one := range strings.SplitSeq(list, ",") {
		if one == name {
			return true
		}
	}
	return false
}

// TestWhatBuildsHasNoToken: a Dockerfile's RUN could otherwise ask the cluster in the ServiceAccount's name.
func TestWhatBuildsHasNoToken(t *testing.T) {
	t.Parallel()
	found := 0
	for _, o := range objects(t) {
		if o.Kind != "ServiceAccount" || (o.Metadata.Name != "clone-build-push" && o.Metadata.Name != "promote") {
			continue
		}
		found++
		var account struct {
			AutomountServiceAccountToken *bool
			Secrets                      []struct{ Name string }
		}
		if err := yaml.Unmarshal(o.text, &account); err != nil {
			t.Fatal(err)
		}
		if account.AutomountServiceAccountToken == nil || *account.AutomountServiceAccountToken || len(account.Secrets) != 0 {
			t.Errorf("%s: %s has a token, or secrets that Tekton mounts into every step", o.path, o.Metadata.Name)
		}
	}
	if found != 2 {
		t.Errorf("%d accounts, want 2", found)
	}
	for _, o := range objects(t) {
		if strings.HasSuffix(o.Kind, "RoleBinding") && strings.Contains(string(o.text), "name: clone-build-push") {
			t.Errorf("%s gives the build a right", o.path)
		}
	}
}
