package registry_test

import (
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
)

// TestWhatIsTwoThingsIsNoManifest: what is checked as an image would be run as an index, or the other way round.
func TestWhatIsTwoThingsIsNoManifest(t *testing.T) {
	t.Parallel()
	const (
		index, manifest = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json"
		artifact        = "application/vnd.oci.artifact.manifest.v1+json"
		list, docker    = "application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json"
	)
	for _, row := range []struct {
		description, header, body string
		good                      bool
	}{
		{"an index", index, `"manifests":[]`, true},
		{"Docker's", list, `"manifests":[]`, true},
		{"a manifest", manifest, `"config":CONFIG,"layers":[]`, true},
		{"Docker's manifest", docker, `"config":CONFIG,"layers":[]`, true},
		{"a manifest whose list is null", manifest, `"config":CONFIG,"layers":[],"manifests":null`, true},
		{"an artifact", artifact, `"blobs":[]`, true},
		{"an index with a configuration", index, `"manifests":[],"config":CONFIG`, false},
		{"an index with layers", index, `"manifests":[],"layers":[]`, false},
		{"a manifest with manifests", manifest, `"config":CONFIG,"layers":[],"manifests":[]`, false},
		{"in another case", manifest, `"config":CONFIG,"layers":[],"Manifests":[]`, false},
		{"a manifest that calls itself an index", manifest, `"mediaType":"` + index + `","config":CONFIG,"layers":[]`, false},
		{"an index that calls itself a manifest", index, `"mediaType":"` + manifest + `","manifests":[]`, false},
		{"a manifest in the place of a list", list, `"config":CONFIG`, false},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			body := `{"schemaVersion":2,` + strings.ReplaceAll(row.body, "CONFIG", emptyConfig) + `}`
			server.Break("GET /manifests/", -1, answering(200, row.header, body))
			_, present, err := plain(t, server).Repository("a/b").Lookup(t.Context(), "1.0")
			if row.good && (err != nil || !present) {
				t.Error(err)
			}
			if !row.good && (present || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "neither an index alone")) {
				t.Errorf("%t, %v", present, err)
			}
		})
	}
}
