package registry_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// raw returns the tag's manifest, as JSON.
func raw(t testing.TB, repository *registry.Repository, tag string) map[string]any {
	t.Helper()
	found, err := repository.Resolve(t.Context(), tag)
	if err != nil {
		t.Fatal(err)
	}
	var content map[string]any
	if err := json.Unmarshal(found.Raw, &content); err != nil {
		t.Fatal(err)
	}
	return content
}

func TestAnExistingFallbackIndexIsMerged(t *testing.T) {
	t.Parallel()
	repository := plain(t, faultyregistry.Start(t)).Repository("a/b")
	subject := push(t, repository, "1.0", randomImage(t))
	old := about(t, subject, "old")
	if err := repository.Put(t.Context(), old, ""); err != nil {
		t.Fatal(err)
	}
	tag := registry.FallbackTag(subject.Digest)
	entry := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d,"artifactType":"application/vnd.example.old",`+
		`"annotations":{"who":"<somebody>"},"from":"the future"}`, old.MediaType, old.Digest, len(old.Raw))
	before := manifestOf(t, types.OCIImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",`+
		`"manifests":[`+entry+`],"annotations":{"kept":"yes"},"alsoFrom":["the future"]}`)
	if err := repository.Put(t.Context(), before, tag); err != nil {
		t.Fatal(err)
	}
	record := about(t, subject, "record")
	if err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{record}); err != nil {
		t.Fatal(err)
	}
	var want map[string]any
	ours, err := json.Marshal(listed(record, "record"))
	if err != nil {
		t.Fatal(err)
	}
	wanted := strings.Replace(string(before.Raw), entry, entry+","+string(ours), 1)
	if err := json.Unmarshal([]byte(wanted), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, raw(t, repository, tag)); diff != "" {
		t.Errorf("the index (-want +got):\n%s", diff)
	}
}

func TestWhatAnotherWriterDroppedIsListedAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		times       int // that another writer comes right after us
		text        string
	}{
		{"once", 1, ""},
		{"three times", 3, ""},
		{"each time", -1, "another writer's list"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository, other := plain(t, server).Repository("a/b"), plain(t, server).Repository("a/b")
			subject := push(t, repository, "1.0", randomImage(t))
			record, foreign := about(t, subject, "record"), about(t, subject, "foreign")
			if err := other.Put(t.Context(), foreign, ""); err != nil {
				t.Fatal(err)
			}
			tag := registry.FallbackTag(subject.Digest)
			// The other one read the tag before we wrote it.
			theirs := manifestOf(t, types.OCIImageIndex, indexOf(listed(foreign, "foreign")))
			server.Break("PUT /manifests/"+tag, row.times, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
				faultyregistry.Then(func() {
					put(t, next, "/v2/a/b/manifests/"+tag, theirs)
				})(w, r, next)
			})
			err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{record})
			if row.text != "" {
				if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), row.text) {
					t.Errorf("error %v of kind %v; want %q", err, fault.KindOf(err), row.text)
				}
				return
			}
			got, listErr := repository.Referrers(t.Context(), subject.Digest)
			want := byDigest(listed(record, "record"), listed(foreign, "foreign"))
			if diff := cmp.Diff(want, got); diff != "" || err != nil || listErr != nil {
				t.Errorf("listed (-want +got):\n%serrors %v, %v", diff, err, listErr)
			}
		})
	}
}

// put writes at the registry itself, past its faults.
func put(t testing.TB, handler http.Handler, path string, manifest registry.Manifest) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPut, path, strings.NewReader(string(manifest.Raw)))
	if err != nil {
		t.Error(err)
		return
	}
	request.Header.Set("Content-Type", string(manifest.MediaType))
	answer := &recorder{header: http.Header{}}
	if handler.ServeHTTP(answer, request); answer.status != http.StatusCreated {
		t.Errorf("PUT %s: %d", path, answer.status)
	}
}

type recorder struct {
	header http.Header
	status int
}

func (r *recorder) Header() http.Header         { return r.header }
func (r *recorder) WriteHeader(status int)      { r.status = status }
func (r *recorder) Write(p []byte) (int, error) { return len(p), nil }

func TestManyWritersOfOneProgramLoseNothing(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	opened := plain(t, server)
	subject := push(t, opened.Repository("a/b"), "1.0", randomImage(t))
	var want []v1.Descriptor
	var writers sync.WaitGroup
	for i := range 20 {
		name := fmt.Sprintf("n%d", i)
		record := about(t, subject, name)
		want = append(want, listed(record, name))
		writers.Go(func() {
			if err := opened.Repository("a/b").PutReferrers(t.Context(), subject.Digest, []registry.Manifest{record}); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	got, err := opened.Repository("a/b").Referrers(t.Context(), subject.Digest)
	if diff := cmp.Diff(byDigest(want...), got); diff != "" || err != nil {
		t.Errorf("listed (-want +got):\n%serror %v", diff, err)
	}
}

func TestSeveralReferrersAreListedAtOnce(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	subject := push(t, repository, "1.0", randomImage(t))
	var all []registry.Manifest
	for i := range 7 {
		all = append(all, about(t, subject, fmt.Sprintf("n%d", i)))
	}
	server.Forget()
	if err := repository.PutReferrers(t.Context(), subject.Digest, all); err != nil {
		t.Fatal(err)
	}
	if puts := count(server, "PUT /v2/a/b/manifests/sha256-"); puts != 1 {
		t.Errorf("the tag was written %d times for 7 referrers", puts)
	}
}

func TestWhatTheTagHoldsIsNotOverwritten(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	subject := push(t, repository, "1.0", randomImage(t))
	tag := registry.FallbackTag(subject.Digest)
	image := push(t, repository, tag, randomImage(t))
	err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{about(t, subject, "record")})
	if _, ok := errors.AsType[*registry.UnlistedError](err); !ok || !strings.Contains(err.Error(), image.Digest.String()) {
		t.Errorf("error %v; want an UnlistedError that names what the tag holds", err)
	}
	if held, err := repository.Resolve(t.Context(), tag); err != nil || held.Digest != image.Digest {
		t.Errorf("the tag holds %s, %v", held.Digest, err)
	}
}

func TestAttachingFails(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		match       string
		fault       faultyregistry.Fault
		times       int
		kind        fault.Kind // 0: no error
		unlisted    bool
		text        string
	}{
		{"the manifest is refused", "PUT /manifests/sha256:", faultyregistry.Status(403, "DENIED"), -1, fault.Denied, false, "writing"},
		{"the manifest is refused once", "PUT /manifests/sha256:", faultyregistry.Status(500, ""), 1, 0, false, ""},
		{"the tag cannot be read", "GET /manifests/sha256-", faultyregistry.Status(401, "UNAUTHORIZED"), -1, fault.Denied, false, "resolving"},
		{"the tag is a page", "GET /manifests/sha256-", faultyregistry.Page(200), -1, fault.Unavailable, false, "not a registry's"},
		{"the tag cannot be read once", "GET /manifests/sha256-", faultyregistry.Status(503, ""), 1, 0, false, ""},
		{"the tag is protected", "PUT /manifests/sha256-", faultyregistry.Status(412, "PRECONDITION"), -1, fault.Refused, true, "412"},
		{"the tag may not be written", "PUT /manifests/sha256-", faultyregistry.Status(403, "DENIED"), -1, fault.Denied, true, "403"},
		{"the tag is written and the answer lost", "PUT /manifests/sha256-", faultyregistry.Lost(), 1, 0, false, ""},
		{"the registry is out of order", "PUT /manifests/sha256-", faultyregistry.Status(500, ""), -1, fault.Unavailable, false, "500"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository := plain(t, server).Repository("a/b")
			subject := push(t, repository, "1.0", randomImage(t))
			server.Break(row.match, row.times, row.fault)
			record := about(t, subject, "record")
			err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{record})
			if row.kind == 0 {
				got, listErr := repository.Referrers(t.Context(), subject.Digest)
				if diff := cmp.Diff([]v1.Descriptor{listed(record, "record")}, got); diff != "" || err != nil || listErr != nil {
					t.Errorf("listed (-want +got):\n%serrors %v, %v", diff, err, listErr)
				}
				return
			}
			_, unlisted := errors.AsType[*registry.UnlistedError](err)
			if fault.KindOf(err) != row.kind || unlisted != row.unlisted || !strings.Contains(err.Error(), row.text) {
				t.Errorf("error %v of kind %v, unlisted: %t", err, fault.KindOf(err), unlisted)
			}
			if fault.SideOf(err) != "target registry" {
				t.Errorf("side %q", fault.SideOf(err))
			}
		})
	}
}

func TestOnlyWhatIsAboutTheSubjectIsAttached(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	subject, other := push(t, repository, "1.0", randomImage(t)), push(t, repository, "2.0", randomImage(t))
	server.Forget()
	if err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{about(t, other, "record")}); err == nil {
		t.Error("attached what is about another image")
	}
	if len(server.Requests()) > 0 {
		t.Errorf("written: %v", server.Requests())
	}
}

// TestARegistryThatLosesItsOwnEntriesIsGivenThemAgain: some lose what comes at once, or say that they list when they do
// not.
func TestARegistryThatLosesItsOwnEntriesIsGivenThemAgain(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault // of its list
		times       int
		tag, failed bool
	}{
		{"nothing is lost", nil, 0, false, false},
		{"lost once", answering(200, string(types.OCIImageIndex), indexOf()), 1, false, false},
		{"lost each time", answering(200, string(types.OCIImageIndex), indexOf()), -1, false, true},
		{"there is no list", faultyregistry.Status(404, ""), -1, true, false},
		{"the list cannot be read", faultyregistry.Status(403, "DENIED"), -1, false, true},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.StartListing(t)
			repository := plain(t, server).Repository("a/b")
			subject := push(t, repository, "1.0", randomImage(t))
			if row.fault != nil {
				server.Break("GET /referrers/", row.times, row.fault)
			}
			record, signature := about(t, subject, "record"), about(t, subject, "signature")
			server.Forget()
			err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{record, signature})
			if (err != nil) != row.failed {
				t.Errorf("error %v, want one: %t", err, row.failed)
			}
			_, present, err := repository.Lookup(t.Context(), registry.FallbackTag(subject.Digest))
			if err != nil || present != row.tag {
				t.Errorf("the fallback tag is there: %t, %v; want %t", present, err, row.tag)
			}
			if puts := count(server, "PUT /v2/a/b/manifests/"+record.Digest.String()); row.times == 1 && puts != 2 {
				t.Errorf("written %d times, want 2", puts)
			}
		})
	}
}

func TestARegistryThatListsIsGivenOneReferrerAtATime(t *testing.T) {
	t.Parallel()
	server := faultyregistry.StartListing(t)
	repository := plain(t, server).Repository("a/b")
	subject := push(t, repository, "1.0", randomImage(t))
	var atOnce, most atomic.Int32
	server.Break("PUT /manifests/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if now := atOnce.Add(1); now > most.Load() {
			most.Store(now)
		}
		time.Sleep(2 * time.Millisecond) // a registry takes its time to change its list
		next.ServeHTTP(w, r)
		atOnce.Add(-1)
	})
	var writers sync.WaitGroup
	for i := range 3 {
		writers.Go(func() {
			var all []registry.Manifest
			for j := range 3 {
				all = append(all, about(t, subject, fmt.Sprintf("n%d.%d", i, j)))
			}
			if err := repository.PutReferrers(t.Context(), subject.Digest, all); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if most.Load() != 1 {
		t.Errorf("%d were written at once", most.Load())
	}
	if got, err := repository.Referrers(t.Context(), subject.Digest); err != nil || len(got) != 9 {
		t.Errorf("%d are listed, %v; want 9", len(got), err)
	}
}
