package promote

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

const hello = "deepsky/awl-deepsky-hello"

// run is what a run of the program came to.
type run struct {
	status  int
	last    string // of stderr's lines
	log     string
	stdout  string
	results map[string]string
}

// promote runs the program with these variables, in process, with hardly any pause between attempts.
func promote(t testing.TB, variables map[string]string) run {
	t.Helper()
	results := t.TempDir()
	environment := []string{"RESULTS_DIR=" + results, "HOME=" + results, "SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true"}
	for key, value := range variables {
		environment = append(environment, key+"="+value)
	}
	program := Program()
	program.Step = &Config{patience: registry.Patience{
		Attempts: 3, First: time.Millisecond, Longest: 5 * time.Millisecond,
		LongestAsked: 2 * time.Second, Silence: time.Second,
	}}
	var stdout, stderr bytes.Buffer
	status := step.Run(t.Context(), program, nil, environment, &stdout, &stderr)
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	return run{
		status: status, last: lines[len(lines)-1], log: stderr.String(), stdout: stdout.String(),
		results: readResults(t, results),
	}
}

func readResults(t testing.TB, dir string) map[string]string {
	t.Helper()
	results := map[string]string{}
	for _, result := range []string{"DESTINATION_DIGEST", "PROMOTION"} {
		if content, err := os.ReadFile(filepath.Join(dir, result)); err == nil {
			results[result] = string(content)
		}
	}
	return results
}

// stage is a source that holds an image as 1.0, and a target.
type stage struct {
	source, target *faultyregistry.Registry
	image          v1.ImageIndex
	digest         string
}

func newStage(t testing.TB) *stage {
	t.Helper()
	s := &stage{source: faultyregistry.Start(t), target: faultyregistry.Start(t), image: twoPlatforms(t, "c0ffee")}
	s.digest = push(t, s.source, hello+":1.0", s.image)
	return s
}

// with returns the variables for a plain promotion of 1.0, and these.
func (s *stage) with(pairs ...string) map[string]string {
	variables := map[string]string{
		"IMAGE": hello + ":1.0", "SOURCE_REGISTRY": s.source.Host(), "TARGET_REGISTRY": s.target.Host(),
	}
	for i := 0; i < len(pairs); i += 2 {
		variables[pairs[i]] = pairs[i+1]
	}
	return variables
}

func twoPlatforms(t testing.TB, revision string) v1.ImageIndex {
	t.Helper()
	var index v1.ImageIndex = empty.Index
	for _, architecture := range []string{"amd64", "arm64"} {
		image, err := random.Image(2048, 2)
		if err != nil {
			t.Fatal(err)
		}
		image, err = mutate.ConfigFile(image, &v1.ConfigFile{
			OS: "linux", Architecture: architecture, RootFS: must(image.ConfigFile()).RootFS,
			Created: v1.Time{Time: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)},
			Config:  v1.Config{Labels: map[string]string{"org.opencontainers.image.revision": revision}},
		})
		if err != nil {
			t.Fatal(err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: image, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}},
		})
	}
	return index
}

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

// push writes an index with go-containerregistry's own client, and returns its digest.
func push(t testing.TB, to *faultyregistry.Registry, at string, index v1.ImageIndex) string {
	t.Helper()
	reference := must(name.ParseReference(to.Host()+"/"+at, name.Insecure))
	if err := remote.WriteIndex(reference, index); err != nil {
		t.Fatal(err)
	}
	to.Forget()
	return must(index.Digest()).String()
}

// holds returns the digest of a tag, "" when it is absent, and fails unless all that it leads to is there and right,
// read by go-containerregistry's own client.
func holds(t testing.TB, in *faultyregistry.Registry, at string) string {
	t.Helper()
	in.Mend()
	in.Before(nil)
	reference := must(name.ParseReference(in.Host()+"/"+at, name.Insecure))
	found, err := remote.Get(reference)
	if err != nil {
		if strings.Contains(err.Error(), "UNKNOWN") {
			return ""
		}
		t.Fatal(err)
	}
	index, err := found.ImageIndex()
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Errorf("%s holds an incomplete image: %v", reference, err)
	}
	return found.Digest.String()
}

func writes(in *faultyregistry.Registry) []string {
	return slices.DeleteFunc(in.Requests(), func(request string) bool {
		return strings.HasPrefix(request, "GET ") || strings.HasPrefix(request, "HEAD ")
	})
}

func TestGuard(t *testing.T) {
	t.Parallel()
	const tag = "GET " + hello + "/manifests/1.0"
	type fate struct {
		status int
		text   string // in the last line
		moved  bool   // the tag holds the promoted image in the end
	}
	type row struct {
		description string
		held        bool // the target's tag holds another image
		fault       faultyregistry.Fault
		times       int
		plain       fate
		forced      fate
	}
	unknown := func(description string, fault faultyregistry.Fault, status int, text string) row {
		return row{description, true, fault, -1, fate{status, text, false}, fate{status, text, false}}
	}
	ok := fate{0, "", true}
	refused := fate{3, "holds another image", false}
	for _, row := range []row{
		{"absent", false, nil, 0, ok, ok},
		{"absent, 404 without a body", false, faultyregistry.Status(404, ""), 2, ok, ok},
		{"absent, 404 with MANIFEST_UNKNOWN", false, faultyregistry.Status(404, "MANIFEST_UNKNOWN"), 2, ok, ok},
		{"another image, 200", true, nil, 0, refused, ok},
		{"429 with Retry-After, then another image", true, faultyregistry.RetryAfter(429, 1), 1, refused, ok},
		{"reset in mid-body, then another image", true, faultyregistry.Reset(30), 1, refused, ok},
		unknown("401", faultyregistry.Status(401, "UNAUTHORIZED"), 5, "401 Unauthorized"),
		unknown("403", faultyregistry.Status(403, "DENIED"), 5, "403 Forbidden"),
		unknown("404 of a web site", faultyregistry.Page(404), 6, "not a registry's"),
		unknown("429 for ever", faultyregistry.RetryAfter(429, 0), 6, "429 Too Many Requests"),
		unknown("429 with a Retry-After that is too long", faultyregistry.RetryAfter(429, 900), 6, "15m0s"),
		unknown("500", faultyregistry.Status(500, "UNKNOWN"), 6, "500 Internal Server Error"),
		unknown("503", faultyregistry.Page(503), 6, "503 Service Unavailable"),
		unknown("redirect", faultyregistry.Redirect("http://127.0.0.1:1/login"), 6, "redirects to"),
		unknown("time-out", faultyregistry.Hang(), 6, "nothing moved"),
		unknown("reset before the answer", faultyregistry.Reset(0), 6, "losing the connection"),
		unknown("reset in mid-body", faultyregistry.Reset(30), 6, "losing the connection"),
		unknown("HTML with status 200", faultyregistry.Page(200), 6, "not a registry's"),
		unknown("wrong Docker-Content-Digest", faultyregistry.WrongDigest(), 8, "has the digest"),
		unknown("truncated manifest", faultyregistry.Truncate(40), 6, "not a manifest"),
	} {
		for _, forced := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, FORCE=%t", row.description, forced), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				before := ""
				if row.held {
					before = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
				}
				if row.fault != nil {
					s.target.Break(tag, row.times, row.fault)
				}
				variables, want := s.with(), row.plain
				if forced {
					variables, want = s.with("FORCE", "true", "FORCE_REASON", "the bug of yesterday"), row.forced
				}
				got := promote(t, variables)
				if got.status != want.status || !strings.Contains(got.last, want.text) {
					t.Errorf("status %d, want %d; last line %q, want one with %q", got.status, want.status, got.last, want.text)
				}
				wrote := writes(s.target)
				now := holds(t, s.target, hello+":1.0")
				if want.moved {
					if now != s.digest || got.results["DESTINATION_DIGEST"] != s.digest {
						t.Errorf("the tag holds %q, results %v; want %q", now, got.results, s.digest)
					}
					return
				}
				if now != before || len(got.results) > 0 || len(wrote) > 0 {
					t.Errorf("the tag holds %q (before: %q), results %v, requests that write %v; want nothing changed",
						now, before, got.results, wrote)
				}
			})
		}
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	for _, step := range []struct{ description, promotion string }{{"first", "copied"}, {"again", "same"}} {
		s.target.Forget()
		got := promote(t, s.with())
		if got.status != 0 {
			t.Fatalf("%s: status %d: %s", step.description, got.status, got.log)
		}
		want := map[string]string{"DESTINATION_DIGEST": s.digest, "PROMOTION": step.promotion}
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
	promote(t, s.with())
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
