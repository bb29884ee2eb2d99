package imagestream

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// TestSettled has the states that a tag passes through, as the API tells them.
func TestSettled(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, status    string
		reference       bool
		settled, failed bool
	}{
		{"nothing happened yet", `{}`, false, false, false},
		{"the image of the spec before", `{items: [{image: "sha256:aaaa", generation: 3}]}`, false, false, false},
		{"imported", `{items: [{image: "sha256:aaaa", generation: 4}]}`, false, true, false},
		{"imported later, too", `{items: [{image: "sha256:aaaa", generation: 6}]}`, false, true, false},
		{"failed", `{conditions: [{type: ImportSuccess, status: "False", reason: NotFound, generation: 4}]}`, false, true, true},
		{"failed before, not yet again",
			`{conditions: [{type: ImportSuccess, status: "False", reason: NotFound, generation: 2}]}`, false, false, true},
		{"failed, an older image stays",
			`{items: [{image: "sha256:aaaa", generation: 2}], conditions: [{type: ImportSuccess, status: "False", generation: 4}]}`,
			false, true, true},
		{"failed once, imported since",
			`{items: [{image: "sha256:aaaa", generation: 4}], conditions: [{type: ImportSuccess, status: "False", generation: 2}]}`,
			false, true, false},
		{"never imported, by intention", `{}`, true, true, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			var status map[string]any
			if err := yaml.Unmarshal([]byte(row.status), &status); err != nil {
				t.Fatal(err)
			}
			status["tag"] = "dev"
			stream, err := decode(&unstructured.Unstructured{Object: map[string]any{
				"spec": map[string]any{"tags": []any{map[string]any{
					"name": "dev", "generation": int64(4), "reference": row.reference,
					"from": map[string]any{"kind": "DockerImage", "name": "r/a/b:1"},
				}}},
				"status": map[string]any{"tags": []any{status}},
			}})
			if err != nil {
				t.Fatal(err)
			}
			tag, _ := stream.Tag("dev")
			if tag.Settled() != row.settled || (tag.Failure != nil) != row.failed {
				t.Errorf("settled %t, failure %v", tag.Settled(), tag.Failure)
			}
		})
	}
}
