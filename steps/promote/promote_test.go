package promote

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/faultyregistry"
)

func TestPromote(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, step := range []struct{ description, promotion string }{{"first", "copied"}, {"again", "same"}} {
		s.target.Forget()
		got := promote(t, s.with())
		if got.status != 0 {
			t.Fatalf("%s: status %d: %s", step.description, got.status, got.log)
		}
		want := map[string]string{"DESTINATION_DIGEST": s.digest, "PROMOTION": step.promotion, "PROMOTED_IMAGE": hello + ":1.0"}
		if diff := cmp.Diff(want, got.results); diff != "" {
			t.Errorf("%s: results (-want +got):\n%s", step.description, diff)
		}
		if !strings.Contains(got.stdout, s.target.Host()+"/"+hello+":1.0") || !strings.Contains(got.stdout, s.digest) {
			t.Errorf("%s: the summary says %q", step.description, got.stdout)
		}
		if step.promotion == "same" && len(writes(s.target)) > 0 {
			t.Errorf("%s: wrote %v", step.description, writes(s.target))
		}
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("the tag holds %q, want %q", now, s.digest)
	}
}

func TestTheTagIsWrittenLast(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	promote(t, s.with("RECORD", "false"))
	var order []string
	for _, request := range writes(s.target) {
		what, _, _ := strings.Cut(strings.TrimPrefix(request, "PUT /v2/"+hello+"/"), "/")
		if strings.HasPrefix(request, "PUT ") && (len(order) == 0 || order[len(order)-1] != what) {
			order = append(order, what)
		}
	}
	if diff := cmp.Diff([]string{"blobs", "manifests"}, order); diff != "" {
		t.Errorf("order of writes (-want +got):\n%s", diff)
	}
	puts := slices.DeleteFunc(writes(s.target), func(request string) bool { return !strings.Contains(request, "/manifests/") })
	if len(puts) != 4 || !strings.HasSuffix(puts[3], "/manifests/1.0") || !strings.HasSuffix(puts[2], "/manifests/"+s.digest) {
		t.Errorf("manifests were written as %v; want two platforms, the index by its digest, the tag", puts)
	}
}

func TestRefusalNamesBothImagesAndTheWayOut(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
	got := promote(t, s.with())
	for _, part := range []string{
		held + " (revision 0ld, created 2026-03-01 12:00 UTC)", s.digest + " (revision c0ffee, created 2026-03-01 12:00 UTC)",
		"FORCE_REPLACES=" + held, "exit status 3", "target registry",
	} {
		if !strings.Contains(got.last, part) {
			t.Errorf("the last line lacks %q: %s", part, got.last)
		}
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	zeros := "sha256:" + strings.Repeat("0", 64)
	s := newStage(t)
	for _, row := range []struct {
		description string
		variables   map[string]string
		texts       []string
	}{
		{"nothing", map[string]string{}, []string{"IMAGE"}},
		{"IMAGE alone", map[string]string{"IMAGE": hello + ":1.0"}, []string{"SOURCE_REGISTRY is missing", "TARGET_REGISTRY is missing"}},
		{"FORCE without a reason", s.with("FORCE", "true"), []string{"FORCE_REASON is missing"}},
		{"IMAGE with a host", s.with("IMAGE", "registry.example.com/"+hello+":1.0"), []string{"IMAGE", "host"}},
		{"IMAGE without a version", s.with("IMAGE", hello), []string{"IMAGE", "version is missing"}},
		{"several at once", s.with("DIGEST", "sha256:12", "FORCE_REPLACES", "latest", "RELEASE_VERSION", "1/2", "BACKUP_TAG", "old"),
			[]string{"DIGEST is not", "FORCE_REPLACES is not", "RELEASE_VERSION", "BACKUP_TAG"}},
		{"same registry and version", s.with("TARGET_REGISTRY", s.source.Host()), []string{"are the same"}},
		{"same, with a digest", s.with("TARGET_REGISTRY", s.source.Host(), "DIGEST", zeros), []string{"are the same"}},
		{"an address with a scheme", s.with("SOURCE_REGISTRY", "https://registry.example.com"), []string{"SOURCE_REGISTRY"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			got := promote(t, row.variables)
			if got.status != 2 || len(got.results) > 0 {
				t.Errorf("status %d, results %v; want 2 and none", got.status, got.results)
			}
			for _, text := range row.texts {
				if !strings.Contains(got.last, text) {
					t.Errorf("the last line lacks %q: %s", text, got.last)
				}
			}
		})
	}
}

func TestWhatIsPromoted(t *testing.T) {
	t.Parallel()
	t.Run("DIGEST goes before the source's tag", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		push(t, s.source, hello+":1.0", twoPlatforms(t, "newer"))
		got := promote(t, s.with("DIGEST", s.digest))
		if got.status != 0 || holds(t, s.target, hello+":1.0") != s.digest {
			t.Errorf("status %d, the tag holds %q, want %q", got.status, holds(t, s.target, hello+":1.0"), s.digest)
		}
		for _, request := range s.source.Requests() {
			if strings.HasSuffix(request, "/manifests/1.0") {
				t.Errorf("the source's tag was consulted: %s", request)
			}
		}
	})
	t.Run("RELEASE_VERSION is the target's tag", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		got := promote(t, s.with("RELEASE_VERSION", "2.0"))
		if got.status != 0 || holds(t, s.target, hello+":2.0") != s.digest || holds(t, s.target, hello+":1.0") != "" {
			t.Errorf("status %d: %s", got.status, got.log)
		}
	})
	t.Run("within one registry, to another version", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		got := promote(t, s.with("TARGET_REGISTRY", s.source.Host(), "RELEASE_VERSION", "2.0"))
		if got.status != 0 || holds(t, s.source, hello+":2.0") != s.digest {
			t.Errorf("status %d: %s", got.status, got.log)
		}
	})
	t.Run("what is not in the source", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		got := promote(t, s.with("IMAGE", hello+":9.9"))
		if got.status != 4 || !strings.Contains(got.last, "source registry") || len(writes(s.target)) > 0 {
			t.Errorf("status %d, last line %q, writes %v", got.status, got.last, writes(s.target))
		}
	})
	t.Run("an index whose child is missing", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		child := must(s.image.IndexManifest()).Manifests[1].Digest.String()
		s.source.Break("GET /manifests/"+child, -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		got := promote(t, s.with())
		if got.status != 4 || !strings.Contains(got.last, child) || len(writes(s.target)) > 0 {
			t.Errorf("status %d, last line %q, writes %v", got.status, got.last, writes(s.target))
		}
	})
}

func TestTwoAccountsOnOneHost(t *testing.T) {
	t.Parallel()
	host := faultyregistry.Start(t)
	image := twoPlatforms(t, "c0ffee")
	digest := push(t, host, "testing/"+hello+":1.0", image)
	host.Login("reader", "reader's secret")
	host.Login("releaser", "releaser's secret")
	host.Allow(func(user string, r *http.Request) bool {
		side := map[string]string{"reader": "/v2/testing/", "releaser": "/v2/production/"}[user]
		return strings.HasPrefix(r.URL.Path, side) && !strings.Contains(r.URL.RawQuery, "from=testing") &&
			(user == "releaser" || r.Method == http.MethodGet)
	})
	variables := map[string]string{
		"IMAGE": hello + ":1.0", "SOURCE_REGISTRY": host.Host() + "/testing", "TARGET_REGISTRY": host.Host() + "/production",
		"SOURCE_REGISTRY_USERNAME": "reader", "SOURCE_REGISTRY_PASSWORD": "reader's secret",
		"TARGET_REGISTRY_USERNAME": "releaser", "TARGET_REGISTRY_PASSWORD": "releaser's secret",
	}
	got := promote(t, variables)
	if got.status != 0 || got.results["DESTINATION_DIGEST"] != digest {
		t.Errorf("status %d: %s", got.status, got.log)
	}
	wrong := maps.Clone(variables)
	wrong["TARGET_REGISTRY_PASSWORD"] = "not the releaser's secret"
	got = promote(t, wrong)
	if got.status != 5 || !strings.Contains(got.last, "TARGET_REGISTRY_PASSWORD") || strings.Contains(got.log, "secret") {
		t.Errorf("status %d, log %q", got.status, got.log)
	}
}

// TestRepetitionsAreTold has the words that every step has for it.
func TestRepetitionsAreTold(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.target.Break("GET /manifests/1.0", 1, faultyregistry.Status(503, ""))
	got := promote(t, s.with())
	told := slices.DeleteFunc(strings.Split(got.log, "\n"), func(line string) bool { return !strings.Contains(line, "trying again") })
	if got.status != 0 || len(told) != 1 || !strings.Contains(told[0], "WRN trying again (2 of 3) in ") ||
		!strings.HasSuffix(told[0], ` side="target registry"`) {
		t.Errorf("exit status %d:\n%s", got.status, got.log)
	}
}
