package promote

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
)

// listing has the source's 1.0 be an index of these.
func listing(s *stage, children ...v1.Descriptor) {
	body := must(json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: children}))
	s.source.Break("GET /manifests/1.0", -1, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", string(types.OCIImageIndex))
		_, _ = w.Write(body)
	})
	s.source.Forget()
}

// TestAHostileIndexCostsTheLabelsGateLittle: it is asked about before anything else would refuse the image.
func TestAHostileIndexCostsTheLabelsGateLittle(t *testing.T) {
	t.Parallel()
	child := func(s *stage) v1.Descriptor { return must(s.image.IndexManifest()).Manifests[0] }
	for _, row := range []struct {
		description string
		children    func(s *stage) []v1.Descriptor
		says        []string
		asked       int // of manifests and configurations, at most
	}{
		{"one child, many times", func(s *stage) []v1.Descriptor {
			all := make([]v1.Descriptor, 5000)
			for i := range all {
				all[i] = child(s)
			}
			return all
		}, []string{"linux/amd64 lacks the label maintainer"}, 3},
		{"an index of it, many times", func(s *stage) []v1.Descriptor {
			all := make([]v1.Descriptor, 5000)
			for i := range all {
				all[i] = v1.Descriptor{MediaType: types.OCIImageIndex, Digest: must(v1.NewHash(s.digest)), Size: 1000}
			}
			return all
		}, []string{"linux/amd64 lacks the label maintainer; linux/arm64 lacks"}, 6},
		{"too many children", func(*stage) []v1.Descriptor {
			var all []v1.Descriptor
			for i := range mostPlatforms {
				all = append(all, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: must(v1.NewHash(fmt.Sprintf("sha256:%064x", i))), Size: 1000})
			}
			return all
		}, []string{"of more than 1000 manifests", "find out who wrote it"}, 1},
		{"a name that moves the cursor", func(s *stage) []v1.Descriptor {
			one := child(s)
			one.Platform = &v1.Platform{OS: "linux\x1b[2K\n", Architecture: strings.Repeat("x", 5000)}
			return []v1.Descriptor{one}
		}, []string{"linux[2K /x", "… lacks the label maintainer"}, 3},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			listing(s, row.children(s)...)
			got := promote(t, s.with("REQUIRE_LABELS", "maintainer"))
			refusedWith(t, s, got, 3, row.says...)
			if asked := len(s.source.Requests()); asked > row.asked || len(got.last) > 2000 {
				t.Errorf("the source was asked %d times, at most %d are needed; the last line has %d bytes", asked, row.asked, len(got.last))
			}
		})
	}
}

// TestTheFirstFewProblemsOfLabelsAreTold of an image that lacks many.
func TestTheFirstFewProblemsOfLabelsAreTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	got := promote(t, s.with("REQUIRE_LABELS", "a,b,c,d,e"))
	refusedWith(t, s, got, 3, "linux/amd64 lacks the label a", "linux/amd64 lacks the label e; and 5 more problems")
	if strings.Contains(got.last, "arm64") {
		t.Errorf("more than the first few are told: %s", got.last)
	}
}

// TestAnIndexWhoseChildIsGoneClosesTheLabelsGate: what is not there may be what lacks the label.
func TestAnIndexWhoseChildIsGoneClosesTheLabelsGate(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.source.Break("GET /manifests/"+must(s.image.IndexManifest()).Manifests[1].Digest.String(), -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
	refusedWith(t, s, promote(t, s.with("REQUIRE_LABELS", "org.opencontainers.image.revision")), 3, "reading the labels")
}
