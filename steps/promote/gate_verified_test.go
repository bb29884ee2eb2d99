package promote

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/static"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// verified attaches a verdict about an image to it, changed and signed (unless key is nil).
func verified(
	t testing.TB, in *faultyregistry.Registry, digest, verdict string, ago time.Duration, key *record.Key, change func(*record.Record),
) *record.Artifact {
	t.Helper()
	of := must(v1.NewHash(digest))
	r := record.Record{Image: hello, Digest: of, Verification: &record.Verification{
		Environment: "staging", Verdict: verdict, Digest: digest, Time: time.Now().Add(-ago), Tool: "dockline verify devel",
	}}
	if change != nil {
		change(&r)
	}
	return attach(t, in, r, key)
}

// attach attaches a record to the image that it is about.
func attach(t testing.TB, in *faultyregistry.Registry, r record.Record, key *record.Key) *record.Artifact {
	t.Helper()
	to := repository(t, in)
	made := must(r.Artifact(must(to.Resolve(t.Context(), r.Digest.String())), key))
	if err := made.Upload(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	if err := made.Attach(t.Context(), to); err != nil {
		t.Fatal(err)
	}
	return made
}

func TestTheGateOfVerification(t *testing.T) {
	t.Parallel()
	keys, others := newKeyPair(t), newKeyPair(t)
	for _, row := range []struct {
		description string
		records     func(t *testing.T, s *stage)
		variables   []string
		status      int
		says        string
	}{
		{"no record", nil, nil, 3, "it has no record"},
		{"right", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
		}, nil, 0, ""},
		{"right, by the older of two keys", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
		}, []string{"RECORD_PUBLIC_KEY", others.public + keys.public}, 0, ""},
		{"right, and nobody signed it", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, nil, nil)
		}, nil, 3, "none of its 1 records says so and is signed by a key that is known here"},
		{"right, by a key of somebody else", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, others.key, nil)
		}, nil, 3, "none of its 1 records"},
		{"wrong since", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
			verified(t, s.source, s.digest, record.Wrong, time.Minute, keys.key, nil)
		}, nil, 3, "found wrong"},
		{"wrong since, which nobody signed", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
			verified(t, s.source, s.digest, record.Wrong, time.Minute, nil, nil)
		}, nil, 0, ""},
		{"a day of soak", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, 25*time.Hour, keys.key, nil)
		}, []string{"MIN_SOAK", "24h"}, 0, ""},
		{"an hour of soak", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
		}, []string{"MIN_SOAK", "24h"}, 3, "24h0m0s are wanted"},
		{"two environments, verified in one", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
		}, []string{"REQUIRE_VERIFIED_IN", "staging, preprod"}, 3, `verified in "preprod"`},
		{"from the future", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, -time.Hour, keys.key, nil)
		}, nil, 3, "in the future"},
		{"a record of another image, attached to this one", func(t *testing.T, s *stage) {
			another := push(t, s.source, hello+":0.9", twoPlatforms(t, "0ld"))
			made := verified(t, s.source, another, record.Right, time.Hour, keys.key, nil)
			replay(t, s.source, s.digest, made)
		}, nil, 3, "it has no record"},
		{"a record of another image's name", func(t *testing.T, s *stage) {
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, func(r *record.Record) { r.Image = "deepsky/other" })
		}, nil, 3, "none of its 1 records"},
		{"a huge one, and nonsense, beside a right one", func(t *testing.T, s *stage) {
			foreign(t, s.source, s.digest, make([]byte, 1<<20))
			foreign(t, s.source, s.digest, []byte("{}"))
			verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
		}, nil, 0, ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, s *stage) {
				if row.records != nil {
					row.records(t, s)
				}
				variables := append([]string{"REQUIRE_VERIFIED_IN", "staging", "RECORD_PUBLIC_KEY", keys.public}, row.variables...)
				got := promote(t, s.with(variables...))
				if got.status != row.status || !strings.Contains(got.last, row.says) {
					t.Errorf("status %d, last line %q; %d and %q are wanted", got.status, got.last, row.status, row.says)
				}
				if row.status != 0 && len(writes(s.target)) > 0 {
					t.Errorf("the gate is closed, and %v was written", writes(s.target))
				}
			})
		})
	}
}

// TestAGateThatCannotBeAsked is closed, whatever is broken: with 3 when the registry has the record and it is of no use,
// with 5 and 6 when the registry is the matter.
func TestAGateThatCannotBeAsked(t *testing.T) {
	t.Parallel()
	keys := newKeyPair(t)
	for _, row := range []struct {
		description, match string
		fault              faultyregistry.Fault
		status             int
	}{
		{"the list, 503", "GET /referrers/", faultyregistry.Status(503, ""), 6},
		{"the list, 403", "GET /referrers/", faultyregistry.Status(403, "DENIED"), 5},
		{"the list, a page", "GET /referrers/", faultyregistry.Page(200), 6},
		{"the list of the tag, 500", "GET /manifests/sha256-", faultyregistry.Status(500, ""), 6},
		{"the record is gone", "GET /manifests/RECORD", faultyregistry.Status(404, "MANIFEST_UNKNOWN"), 3},
		{"the record is another", "GET /manifests/RECORD", changed(`"size":2`, `"size":3`), 3},
		{"the record is no record", "GET /manifests/RECORD", faultyregistry.Truncate(20), 6},
		{"the record, 503", "GET /manifests/RECORD", faultyregistry.Status(503, ""), 6},
		{"its content is gone", "GET /blobs/LAYER", faultyregistry.Status(404, "BLOB_UNKNOWN"), 3},
		{"its content is another", "GET /blobs/LAYER", faultyregistry.Corrupt(), 3},
		{"its content, 401", "GET /blobs/LAYER", faultyregistry.Status(401, ""), 5},
		{"its content never comes", "GET /blobs/LAYER", faultyregistry.Hang(), 6},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := &stage{source: faultyregistry.StartListing(t), target: faultyregistry.Start(t), image: twoPlatforms(t, "c0ffee")}
			s.digest = push(t, s.source, hello+":1.0", s.image)
			made := verified(t, s.source, s.digest, record.Right, time.Hour, keys.key, nil)
			manifest, layer := partsOf(t, s.source, made)
			match := strings.NewReplacer("RECORD", manifest.String(), "LAYER", layer.Digest.String()).Replace(row.match)
			s.source.Break(match, -1, row.fault)
			got := promote(t, s.with("REQUIRE_VERIFIED_IN", "staging", "RECORD_PUBLIC_KEY", keys.public))
			if got.status != row.status || !strings.Contains(got.last, "verified") || len(writes(s.target)) > 0 {
				t.Errorf("status %d, last line %q, writes %v; %d is wanted", got.status, got.last, writes(s.target), row.status)
			}
		})
	}
}

// changed answers with the true body, in which a text is replaced.
func changed(old, by string) faultyregistry.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		_, _ = w.Write(bytes.Replace(answer.Body.Bytes(), []byte(old), []byte(by), 1))
	}
}

// replay attaches another image's record to this one: the same signed content, under another manifest.
func replay(t testing.TB, in *faultyregistry.Registry, digest string, made *record.Artifact) {
	t.Helper()
	_, layer := partsOf(t, in, made)
	foreign(t, in, digest, must(io.ReadAll(must(made.Blob(t.Context(), layer)))))
}

// partsOf returns what a record consists of.
func partsOf(t testing.TB, in *faultyregistry.Registry, made *record.Artifact) (manifest v1.Hash, layer v1.Descriptor) {
	t.Helper()
	_, digest, _ := strings.Cut(made.Reference(repository(t, in)), "@")
	manifest = must(v1.NewHash(digest))
	read := must(v1.ParseManifest(bytes.NewReader(must(made.Manifest(t.Context(), manifest)).Raw)))
	return manifest, read.Layers[0]
}

// foreign attaches anything to an image, in the form of a verification.
func foreign(t testing.TB, in *faultyregistry.Registry, digest string, content []byte) {
	t.Helper()
	to := repository(t, in)
	subject := must(to.Resolve(t.Context(), digest))
	layer := static.NewLayer(content, "application/vnd.dsse.envelope.v1+json")
	repository := must(name.NewRepository(in.Host()+"/"+hello, name.Insecure))
	for _, one := range []v1.Layer{layer, static.NewLayer([]byte("{}"), "application/vnd.oci.empty.v1+json")} {
		if err := remote.WriteLayer(repository, one); err != nil {
			t.Fatal(err)
		}
	}
	raw := must(json.Marshal(map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"artifactType": record.VerificationArtifact,
		"config":       v1.Descriptor{MediaType: "application/vnd.oci.empty.v1+json", Digest: must(v1.NewHash(emptyConfig)), Size: 2},
		"layers": []v1.Descriptor{{
			MediaType: "application/vnd.dsse.envelope.v1+json", Digest: must(layer.Digest()), Size: int64(len(content)),
		}},
		"subject": v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: int64(len(subject.Raw))},
	}))
	hash, _, _ := v1.SHA256(bytes.NewReader(raw))
	manifest := registry.Manifest{MediaType: "application/vnd.oci.image.manifest.v1+json", Digest: hash, Raw: raw}
	if err := to.PutReferrers(t.Context(), subject.Digest, []registry.Manifest{manifest}); err != nil {
		t.Fatal(err)
	}
}
