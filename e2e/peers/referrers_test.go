//go:build e2e

package peers_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/registry"
)

// TestReferrersAtRealRegistries: what Dockline attaches is found by regctl, what regctl attaches is found by Dockline,
// and neither drops what the other wrote, whether the registry keeps the list or the fallback tag does.
func TestReferrersAtRealRegistries(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"distribution", "olareg"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			host := serve(t, kind)
			repository, index := fill(t, host)
			agree := func(want int) {
				t.Helper()
				listed, err := repository.Referrers(t.Context(), index.Digest)
				if err != nil {
					t.Fatal(err)
				}
				theirs := strings.Split(run(t, "regctl", nil, "--host", "reg="+host+",tls=disabled", "artifact", "list", "--format",
					`{{range .Descriptors}}{{.Digest}} {{.MediaType}} {{.ArtifactType}} {{.Size}} {{println .Annotations}}{{end}}`,
					host+"/"+imageName+"@"+index.Digest.String()), "\n")
				slices.Sort(theirs) // it keeps the order in which they were attached
				if diff := cmp.Diff(theirs, entries(listed)); diff != "" || len(listed) != want {
					t.Errorf("%d are listed, want %d (-regctl +Dockline):\n%s", len(listed), want, diff)
				}
				if diff := cmp.Diff(read(t, host, imageName).Referrers[index.Digest.String()], entries(listed)); diff != "" {
					t.Errorf("listed (-plain request +Dockline):\n%s", diff)
				}
			}
			agree(2)
			run(t, "regctl", nil, "--host", "reg="+host+",tls=disabled", "artifact", "put",
				"--artifact-type", "application/vnd.example.theirs", "--annotation", "by=regctl", "--config-type", emptyType,
				"--subject", host+"/"+imageName+"@"+index.Digest.String())
			agree(3)
			c := content{t: t, host: host, to: repository}
			c.attach(index, "application/vnd.example.ours", "one more")
			agree(4)
			var many []registry.Manifest
			for i := range 8 {
				many = append(many, c.about(index, "application/vnd.example.many", fmt.Sprint(i)))
			}
			if err := repository.PutReferrers(t.Context(), index.Digest, many); err != nil {
				t.Fatal(err)
			}
			agree(12)
			_, present, err := repository.Lookup(t.Context(), registry.FallbackTag(index.Digest))
			if err != nil || present != (kind == "distribution") {
				t.Errorf("the fallback tag is there: %t, %v", present, err)
			}
			none, err := repository.Referrers(t.Context(), manifestOf(t, map[string]string{"what": "is not there"}).Digest)
			if err != nil || len(none) > 0 {
				t.Errorf("of what is not there: %v, %v", none, err)
			}
		})
	}
}

// TestTagsAtRealRegistries: a tag goes alone or not at all.
func TestTagsAtRealRegistries(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind    string
		deletes bool
	}{{"distribution", false}, {"olareg", true}} {
		t.Run(row.kind, func(t *testing.T) {
			t.Parallel()
			repository, index := fill(t, serve(t, row.kind))
			if err := repository.Put(t.Context(), index, "1.0-too"); err != nil {
				t.Fatal(err)
			}
			signed, err := repository.CosignTags(t.Context(), index.Digest)
			if err != nil || len(signed) != 2 || !strings.HasSuffix(signed[1].Tag, ".att") {
				t.Errorf("cosign's tags: %v, %v", signed, err)
			}
			removed, err := repository.DeleteTag(t.Context(), "1.0-too", time.Now(), func(context.Context) (bool, error) { return false, nil })
			if err != nil || removed != row.deletes {
				t.Errorf("removed: %t, %v; want %t", removed, err, row.deletes)
			}
			tags, err := repository.Tags(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var versions []string
			for _, tag := range tags {
				if !strings.HasPrefix(tag, "sha256-") {
					versions = append(versions, tag)
				}
			}
			want := []string{"0.9", "1.0", "2.0"}
			if !row.deletes {
				want = []string{"0.9", "1.0", "1.0-too", "2.0"}
			}
			if diff := cmp.Diff(want, versions); diff != "" {
				t.Errorf("tags (-want +got):\n%s", diff)
			}
			if held, err := repository.Resolve(t.Context(), "1.0"); err != nil || held.Digest != index.Digest {
				t.Errorf("the other tag holds %s, %v", held.Digest, err)
			}
		})
	}
}
