package registry_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

const emptyConfig = `{"mediaType":"application/vnd.oci.empty.v1+json","size":2,` +
	`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}`

// manifestOf is a manifest of these bytes.
func manifestOf(t testing.TB, mediaType types.MediaType, raw string) registry.Manifest {
	t.Helper()
	digest, _, err := v1.SHA256(strings.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return registry.Manifest{MediaType: mediaType, Digest: digest, Raw: []byte(raw)}
}

// about makes a referrer of subject: an artifact of the type application/vnd.example.NAME, annotated with its name.
func about(t testing.TB, subject registry.Manifest, name string) registry.Manifest {
	t.Helper()
	return manifestOf(t, types.OCIManifestSchema1, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,`+
		`"artifactType":"application/vnd.example.%s","config":%s,"layers":[],`+
		`"subject":{"mediaType":%q,"digest":%q,"size":%d},"annotations":{"name":%q}}`,
		types.OCIManifestSchema1, name, emptyConfig, subject.MediaType, subject.Digest, len(subject.Raw), name))
}

func listed(of registry.Manifest, name string) v1.Descriptor {
	return v1.Descriptor{
		MediaType: of.MediaType, Digest: of.Digest, Size: int64(len(of.Raw)),
		ArtifactType: "application/vnd.example." + name, Annotations: map[string]string{"name": name},
	}
}

func byDigest(descriptors ...v1.Descriptor) []v1.Descriptor {
	slices.SortFunc(descriptors, func(a, b v1.Descriptor) int { return strings.Compare(a.Digest.Hex, b.Digest.Hex) })
	return descriptors
}

// answering lets the registry answer with this.
func answering(status int, contentType, body string) faultyregistry.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}
}

func indexOf(descriptors ...v1.Descriptor) string {
	list, err := json.Marshal(v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: descriptors})
	if err != nil {
		panic(err)
	}
	return string(list)
}

func TestWhatIsAttachedIsListed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		start       func(testing.TB) *faultyregistry.Registry
		byTag       bool
	}{
		{"by a registry that keeps the list", faultyregistry.StartListing, false},
		{"by the fallback tag", faultyregistry.Start, true},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			repository := plain(t, row.start(t)).Repository("a/b")
			subject := push(t, repository, "1.0", randomImage(t))
			none, err := repository.Referrers(t.Context(), subject.Digest)
			if err != nil || len(none) != 0 {
				t.Errorf("before: %v, %v; want none", none, err)
			}
			signature, record := about(t, subject, "signature"), about(t, subject, "record")
			if err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{signature}); err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second changes nothing
				if err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{signature, record}); err != nil {
					t.Fatal(err)
				}
			}
			got, err := repository.Referrers(t.Context(), subject.Digest)
			if err != nil {
				t.Fatal(err)
			}
			want := byDigest(listed(signature, "signature"), listed(record, "record"))
			if !row.byTag { // go-containerregistry's registry does not tell the artifactType
				for i := range want {
					want[i].ArtifactType = "application/vnd.oci.empty.v1+json"
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
			if _, present, err := repository.Lookup(t.Context(), registry.FallbackTag(subject.Digest)); present != row.byTag {
				t.Errorf("fallback tag: %t, %v; want %t", present, err, row.byTag)
			}
		})
	}
}

func TestReferrersOfDoubtfulAnswers(t *testing.T) {
	t.Parallel()
	const (
		json404 = `{"errors":[{"code":"NAME_UNKNOWN"}]}`
		empty   = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`
		entry   = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","size":%s,"digest":%s}`
	)
	oneOf := func(size, digest string) string {
		return `{"schemaVersion":2,"manifests":[` + fmt.Sprintf(entry, size, digest) + `]}`
	}
	digest := `"sha256:` + strings.Repeat("a", 64) + `"`
	elsewhere := faultyregistry.Start(t)
	for _, row := range []struct {
		description string
		at          string // part of the request that the fault is for
		fault       faultyregistry.Fault
		times       int
		want        string     // what is listed
		kind        fault.Kind // 0: no error
		text        string
	}{
		{"the registry has no list: distribution's words", "/referrers/", answering(404, "text/plain; charset=utf-8", "404 page not found\n"), -1, "tagged", 0, ""},
		{"the registry has no list: no body", "/referrers/", faultyregistry.Status(404, ""), -1, "tagged", 0, ""},
		{"the registry has no list: a code", "/referrers/", answering(404, "application/json", json404), -1, "tagged", 0, ""},
		{"the registry has no list: 400", "/referrers/", faultyregistry.Status(400, "UNSUPPORTED"), -1, "tagged", 0, ""},
		{"the registry has no list: 405", "/referrers/", faultyregistry.Status(405, "UNSUPPORTED"), -1, "tagged", 0, ""},
		{"the registry has no list: 406, Artifactory's", "/referrers/", faultyregistry.Status(406, ""), -1, "tagged", 0, ""},
		{"the registry has no list: 501", "/referrers/", faultyregistry.Status(501, "UNSUPPORTED"), -1, "tagged", 0, ""},
		{"a page says that there is none, each time", "/referrers/", faultyregistry.Page(404), -1, "tagged", 0, ""},
		{"a page says that there is none, once", "/referrers/", faultyregistry.Page(404), 1, "both", 0, ""},
		{"a page for all requests", "/", faultyregistry.Page(404), -1, "", fault.Unavailable, "text/html"},
		{"the list is there as well as the tag", "/nothing", nil, 0, "both", 0, ""},
		{"an empty list", "/referrers/", answering(200, string(types.OCIImageIndex), empty), -1, "tagged", 0, ""},
		{"a null list", "/referrers/", answering(200, string(types.OCIImageIndex), strings.Replace(empty, "[]", "null", 1)), -1, "tagged", 0, ""},
		{"Harbor's media type", "/referrers/", answering(200, "application/json; charset=utf-8", `{"schemaVersion":2,"manifests":[]}`), -1, "tagged", 0, ""},
		{"an HTML page with 200", "/referrers/", faultyregistry.Page(200), -1, "", fault.Unavailable, "not a registry's"},
		{"JSON that is no list", "/referrers/", answering(200, "application/json", `{"token":"x"}`), -1, "", fault.Unavailable, "not a list of referrers"},
		{"another kind of index", "/referrers/", answering(200, string(types.DockerManifestList), `{"schemaVersion":2,"manifests":[]}`), -1, "", fault.Unavailable, "not a list of referrers"},
		{"nothing with 200", "/referrers/", answering(200, string(types.OCIImageIndex), ""), -1, "", fault.Unavailable, "not a list of referrers"},
		{"truncated", "/referrers/", faultyregistry.Truncate(60), -1, "", fault.Unavailable, "not a list of referrers"},
		{"reset in mid-body once", "/referrers/", faultyregistry.Reset(60), 1, "both", 0, ""},
		{"reset in mid-body for ever", "/referrers/", faultyregistry.Reset(60), -1, "", fault.Unavailable, "losing the connection"},
		{"404 that breaks off", "/referrers/", faultyregistry.BrokenOff(404), -1, "", fault.Unavailable, "losing the connection"},
		{"401", "/referrers/", faultyregistry.Status(401, "UNAUTHORIZED"), -1, "", fault.Denied, "without credentials"},
		{"403", "/referrers/", faultyregistry.Status(403, "DENIED"), -1, "", fault.Denied, "403"},
		{"429 for ever", "/referrers/", faultyregistry.Status(429, "TOOMANYREQUESTS"), -1, "", fault.Unavailable, "429"},
		{"429 with Retry-After once", "/referrers/", faultyregistry.RetryAfter(429, 1), 1, "both", 0, ""},
		{"500 for ever", "/referrers/", faultyregistry.Status(500, ""), -1, "", fault.Unavailable, "500"},
		{"503 twice", "/referrers/", faultyregistry.Status(503, ""), 2, "both", 0, ""},
		{"redirect to another host", "/referrers/", faultyregistry.Redirect("http://" + elsewhere.Host() + "/login"), -1, "", fault.Unavailable, "redirects to"},
		{"the subject itself", "/referrers/", func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			digest := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
			answering(200, string(types.OCIImageIndex), oneOf("7", `"`+digest+`"`))(w, r, next)
		}, -1, "tagged", 0, ""},
		{"an impossible size", "/referrers/", answering(200, string(types.OCIImageIndex), oneOf("-1", digest)), -1, "", fault.Refused, "impossible size"},
		{"an absurd size", "/referrers/", answering(200, string(types.OCIImageIndex), oneOf("99999999999", digest)), -1, "", fault.Refused, "impossible size"},
		{"no digest", "/referrers/", answering(200, string(types.OCIImageIndex), `{"schemaVersion":2,"manifests":[{"size":7}]}`), -1, "", fault.Refused, "no digest"},
		{"a digest that is none", "/referrers/", answering(200, string(types.OCIImageIndex), oneOf("7", `"sha256:../../x"`)), -1, "", fault.Unavailable, "not a list of referrers"},
		{"too many", "/referrers/", answering(200, string(types.OCIImageIndex),
			`{"schemaVersion":2,"manifests":[`+strings.Repeat("{},", 10_000)+`{}]}`), -1, "", fault.Refused, "more than 10000"},
		{"the tag: 403", "/manifests/sha256-", faultyregistry.Status(403, "DENIED"), -1, "", fault.Denied, "403"},
		{"the tag: 500 for ever", "/manifests/sha256-", faultyregistry.Status(500, ""), -1, "", fault.Unavailable, "500"},
		{"the tag: an HTML page with 404", "/manifests/sha256-", faultyregistry.Page(404), -1, "", fault.Unavailable, "text/html"},
		{"the tag: an HTML page with 200", "/manifests/sha256-", faultyregistry.Page(200), -1, "", fault.Unavailable, "not a registry's"},
		{"the tag: absent", "/manifests/sha256-", faultyregistry.Status(404, "MANIFEST_UNKNOWN"), -1, "listed", 0, ""},
		{"the tag: an image that is not the subject", "/manifests/sha256-", answering(200, string(types.OCIManifestSchema1),
			`{"schemaVersion":2,"config":`+emptyConfig+`}`), -1, "listed", 0, ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.StartListing(t)
			repository := plain(t, server).Repository("a/b")
			subject := push(t, repository, "1.0", randomImage(t))
			signature, old := about(t, subject, "signature"), about(t, subject, "old")
			if err := repository.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{signature}); err != nil {
				t.Fatal(err)
			}
			tag := manifestOf(t, types.OCIImageIndex, indexOf(listed(old, "old")))
			server.Break("PUT /manifests/"+old.Digest.String(), -1, faultyregistry.Status(404, "NAME_UNKNOWN"))
			server.Break("GET /manifests/"+registry.FallbackTag(subject.Digest), -1, answering(200, string(types.OCIImageIndex), string(tag.Raw)))
			if row.fault != nil {
				server.Break("GET "+row.at, row.times, row.fault)
			}
			got, err := repository.Referrers(t.Context(), subject.Digest)
			if row.kind != 0 {
				if err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) || got != nil {
					t.Errorf("%v, error %v of kind %v; want %v with %q", got, err, fault.KindOf(err), row.kind, row.text)
				}
				if fault.SideOf(err) != "target registry" {
					t.Errorf("side %q", fault.SideOf(err))
				}
				return
			}
			want := map[string][]v1.Hash{"tagged": {old.Digest}, "listed": {signature.Digest}, "both": {old.Digest, signature.Digest}}[row.want]
			var digests []v1.Hash
			for _, one := range got {
				digests = append(digests, one.Digest)
			}
			slices.SortFunc(want, func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) })
			if diff := cmp.Diff(want, digests); diff != "" || err != nil {
				t.Errorf("listed (-want +got):\n%serror %v", diff, err)
			}
			if len(elsewhere.Requests()) > 0 {
				t.Errorf("followed to another host: %v", elsewhere.Requests())
			}
		})
	}
}

// GitLab's registry takes the fallback tag for another way to write the digest. The children of an index are not its
// referrers.
func TestARegistryThatAnswersTheFallbackTagWithTheImageIsSeenThrough(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	child := push(t, repository, "child", randomImage(t))
	index := manifestOf(t, types.OCIImageIndex, indexOf(v1.Descriptor{
		MediaType: child.MediaType, Digest: child.Digest, Size: int64(len(child.Raw)),
	}))
	if err := repository.Put(t.Context(), index, "1.0"); err != nil {
		t.Fatal(err)
	}
	tag := registry.FallbackTag(index.Digest)
	server.Break("GET /manifests/"+tag, -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/a/b/manifests/" + index.Digest.String()
		next.ServeHTTP(w, r)
	})
	got, err := repository.Referrers(t.Context(), index.Digest)
	if err != nil || len(got) > 0 {
		t.Errorf("%v, %v; want none", got, err)
	}

	record := about(t, index, "record")
	err = repository.PutReferrers(t.Context(), index.Digest, []registry.Manifest{record})
	unlisted, ok := errors.AsType[*registry.UnlistedError](err)
	if !ok || unlisted.Subject != index.Digest || fault.KindOf(err) != fault.Refused || fault.HintOf(err) == "" {
		t.Fatalf("error %v of kind %v; want an UnlistedError", err, fault.KindOf(err))
	}
	if _, err := repository.Manifest(t.Context(), record.Digest); err != nil {
		t.Errorf("the record is not stored: %v", err)
	}
	if puts := count(server, "PUT /v2/a/b/manifests/sha256-"); puts != 0 {
		t.Errorf("the tag was written %d times", puts)
	}
}

func TestReferrersInPages(t *testing.T) {
	t.Parallel()
	subject := manifestOf(t, types.OCIManifestSchema1, "{}")
	first, second, third := about(t, subject, "first"), about(t, subject, "second"), about(t, subject, "third")
	at := "/v2/a/b/referrers/" + subject.Digest.String()
	pageWith := func(link string, of ...v1.Descriptor) faultyregistry.Fault {
		return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
			if link != "" {
				w.Header().Set("Link", link)
			}
			w.Header().Set("Content-Type", string(types.OCIImageIndex))
			fmt.Fprint(w, indexOf(of...))
		}
	}
	byQuery := func(pages map[string]faultyregistry.Fault) faultyregistry.Fault {
		return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
			pages[r.URL.RawQuery](w, r, next)
		}
	}
	for _, row := range []struct {
		description string
		pages       map[string]faultyregistry.Fault
		want        []v1.Descriptor
		kind        fault.Kind
		text        string
	}{
		{"three", map[string]faultyregistry.Fault{
			"":    pageWith(`<`+at+`?p=2>; rel="next"`, listed(first, "first")),
			"p=2": pageWith(`</x>; rel=prev, <?p=3>; title="a, b"; rel="next last"`, listed(second, "second"), listed(first, "first")),
			"p=3": pageWith("", listed(third, "third")),
		}, byDigest(listed(first, "first"), listed(second, "second"), listed(third, "third")), 0, ""},
		{"the second fails once", map[string]faultyregistry.Fault{
			"":    pageWith(`<?p=2>; rel="next"`, listed(first, "first")),
			"p=2": failingFirst(t, pageWith("", listed(second, "second"))),
		}, byDigest(listed(first, "first"), listed(second, "second")), 0, ""},
		{"the second is not there", map[string]faultyregistry.Fault{
			"":    pageWith(`<?p=2>; rel="next"`, listed(first, "first")),
			"p=2": faultyregistry.Status(404, ""),
		}, nil, fault.NotFound, "404"},
		{"the second is at another host", map[string]faultyregistry.Fault{
			"": pageWith(`<https://registry.example`+at+`?p=2>; rel="next"`, listed(first, "first")),
		}, nil, fault.Unavailable, "registry.example"},
		{"without end", map[string]faultyregistry.Fault{
			"": pageWith(`<`+at+`>; rel="next"`, listed(first, "first")),
		}, nil, fault.Refused, "1000 pages"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			server.Break("GET /referrers/", -1, byQuery(row.pages))
			got, err := plain(t, server).Repository("a/b").Referrers(t.Context(), subject.Digest)
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("listed (-want +got):\n%s", diff)
			}
			if row.kind == 0 && err != nil || row.kind != 0 && (fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text)) {
				t.Errorf("error %v of kind %v; want %v with %q", err, fault.KindOf(err), row.kind, row.text)
			}
		})
	}
}

func TestManifestSaysWhatItIsAbout(t *testing.T) {
	t.Parallel()
	subject := manifestOf(t, types.OCIManifestSchema1, "{}")
	record := about(t, subject, "record")
	if digest, ok := record.Subject(); !ok || digest != subject.Digest || record.ArtifactType() != "application/vnd.example.record" {
		t.Errorf("%s, %t, %q", digest, ok, record.ArtifactType())
	}
	record.Raw = bytes.Replace(record.Raw, []byte(`"artifactType"`), []byte(`"x"`), 1)
	if record.ArtifactType() != "application/vnd.oci.empty.v1+json" {
		t.Errorf("without an artifactType: %q, want the configuration's", record.ArtifactType())
	}
	for _, raw := range []string{"{}", "null", "[", `{"subject":null}`, `{"subject":{}}`, `{"subject":{"digest":"x"}}`} {
		if digest, ok := manifestOf(t, types.OCIImageIndex, raw).Subject(); ok || digest != (v1.Hash{}) {
			t.Errorf("%s: %s, want none", raw, digest)
		}
	}
}

func failingFirst(t testing.TB, then faultyregistry.Fault) faultyregistry.Fault {
	t.Helper()
	failed := make(chan struct{}, 1)
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		select {
		case failed <- struct{}{}:
			faultyregistry.Status(503, "")(w, r, next)
		default:
			then(w, r, next)
		}
	}
}
