//go:build e2e

package peers_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPromoteLeavesTheSameAsRegctl: digests, tags, blobs and what is attached to what, at a registry that lists referrers
// and at one that does not.
func TestPromoteLeavesTheSameAsRegctl(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ from, to string }{
		{"distribution", "distribution"}, {"olareg", "olareg"}, {"distribution", "olareg"}, {"olareg", "distribution"},
	} {
		t.Run(row.from+" to "+row.to, func(t *testing.T) {
			t.Parallel()
			source, ours, theirs := serve(t, row.from), serve(t, row.to), serve(t, row.to)
			fill(t, source)
			for _, version := range []string{"1.0", "2.0"} {
				image := imageName + ":" + version
				run(t, "regctl", nil, "--host", "reg="+source+",tls=disabled", "--host", "reg="+theirs+",tls=disabled",
					"image", "copy", "--digest-tags", "--referrers", source+"/"+image, theirs+"/"+image)
				run(t, "promote", []string{
					"IMAGE=" + image, "RECORD=false", "SOURCE_REGISTRY=" + source, "TARGET_REGISTRY=" + ours,
					"SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true",
				})
			}
			want, got := read(t, theirs, imageName), read(t, ours, imageName)
			if len(want.Manifests) < 12 || len(want.Referrers) < 5 {
				t.Fatalf("regctl copied too little to compare with: %+v", want)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("in the target (-regctl +promote):\n%s", diff)
			}
		})
	}
}
