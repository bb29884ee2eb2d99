package promote

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// keyPair is a key as a person has it, and as our own package reads it.
type keyPair struct {
	private, public string
	key             *record.Key
}

func newKeyPair(t testing.TB) keyPair {
	t.Helper()
	private := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	pair := keyPair{
		private: block("PRIVATE KEY", must(x509.MarshalPKCS8PrivateKey(private))),
		public:  block("PUBLIC KEY", must(x509.MarshalPKIXPublicKey(private.Public()))),
	}
	pair.key = must(record.ReadKey([]byte(pair.private), ""))
	return pair
}

// repository opens hello's repository in a registry of the test.
func repository(t testing.TB, in *faultyregistry.Registry) *registry.Repository {
	t.Helper()
	opened := must(registry.Open(registry.Config{Address: in.Host(), Insecure: true}))
	t.Cleanup(opened.Close)
	return opened.Repository(hello)
}

// recordsOf returns the promotions that are recorded of an image, the oldest first.
func recordsOf(t testing.TB, in *faultyregistry.Registry, digest string, keys record.Keys) []record.Signed {
	t.Helper()
	in.Mend()
	in.Before(nil)
	return must(record.Promotions(t.Context(), repository(t, in), must(v1.NewHash(digest)), keys))
}

// eachKind runs a test against a registry that keeps lists of referrers, and one that does not.
func eachKind(t *testing.T, test func(t *testing.T, s *stage)) {
	t.Helper()
	for name, start := range map[string]func(testing.TB) *faultyregistry.Registry{
		"lists referrers": faultyregistry.StartListing, "does not list referrers": faultyregistry.Start,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &stage{source: start(t), target: start(t), image: twoPlatforms(t, "c0ffee")}
			s.digest = push(t, s.source, hello+":1.0", s.image)
			test(t, s)
		})
	}
}

var anyTime = cmpopts.IgnoreFields(record.Promotion{}, "Time", "Tool")

func TestAPromotionIsRecorded(t *testing.T) {
	t.Parallel()
	keys := newKeyPair(t)
	eachKind(t, func(t *testing.T, s *stage) {
		began := time.Now().Truncate(time.Second)
		got := promote(t, s.with("RECORD_KEY", keys.private, "GITLAB_USER_LOGIN", "jdoe",
			"CI_PIPELINE_URL", "https://gitlab.example.com/-/pipelines/42"))
		if got.status != 0 {
			t.Fatalf("status %d: %s", got.status, got.log)
		}
		records := recordsOf(t, s.target, s.digest, keys.key.Public())
		want := []record.Signed{{
			Record: record.Record{Image: hello, Digest: must(v1.NewHash(s.digest)), Promotion: &record.Promotion{
				Kind: "copied", From: s.source.Host() + "/" + hello + ":1.0", To: s.target.Host() + "/" + hello + ":1.0",
				Digest: s.digest, Person: "jdoe", Pipeline: "https://gitlab.example.com/-/pipelines/42",
			}},
			Key: keys.key.ID(),
		}}
		if diff := cmp.Diff(want, records, anyTime); diff != "" {
			t.Fatalf("records (-want +got):\n%s", diff)
		}
		one := records[0].Promotion
		if one.Time.Before(began) || one.Time.After(time.Now()) || !strings.HasPrefix(one.Tool, "dockline promote ") {
			t.Errorf("recorded at %s by %q", one.Time, one.Tool)
		}
		if !strings.Contains(got.stdout, "record ") || strings.Contains(got.log+got.stdout, "PRIVATE") {
			t.Errorf("it says %q, and logs %q", got.stdout, got.log)
		}
		if now := holds(t, s.target, hello+":1.0"); now != s.digest {
			t.Errorf("the tag holds %q: a record changed the image", now)
		}
	})
}

// TestWritesOfARecord has the order that a registry needs that refuses what refers to something absent, and no tag
// before the record.
func TestWritesOfARecord(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *stage) {
		promote(t, s.with())
		puts := slices.DeleteFunc(writes(s.target), func(request string) bool {
			return !strings.HasPrefix(request, "PUT ") || !strings.Contains(request, "/manifests/")
		})
		index := slices.Index(puts, "PUT /v2/"+hello+"/manifests/"+s.digest)
		tag := slices.Index(puts, "PUT /v2/"+hello+"/manifests/1.0")
		if index != 2 || tag != len(puts)-1 || tag < index+2 {
			t.Errorf("manifests were written as %v; want two platforms, the index, the record, and the tag last", puts)
		}
	})
}

// TestASecondRunRecordsWhatIsMissing has the record of a promotion once for each tag, whoever has made it.
func TestASecondRunRecordsWhatIsMissing(t *testing.T) {
	t.Parallel()
	keys := newKeyPair(t)
	eachKind(t, func(t *testing.T, s *stage) {
		for _, run := range []struct {
			description string
			variables   []string
			want        []string // the kinds that are recorded after it
		}{
			{"without a record", []string{"RECORD", "false"}, nil},
			{"the record is missing", nil, []string{"same"}},
			{"it is there", nil, []string{"same"}},
			{"a signed one is missing", []string{"RECORD_KEY", keys.private}, []string{"same", "same"}},
			{"that is there too", []string{"RECORD_KEY", keys.private}, []string{"same", "same"}},
			{"as another version", []string{"RELEASE_VERSION", "2.0"}, []string{"same", "same", "copied"}},
		} {
			s.target.Forget()
			got := promote(t, s.with(run.variables...))
			if got.status != 0 {
				t.Fatalf("%s: status %d: %s", run.description, got.status, got.log)
			}
			if strings.Contains(run.description, "there") && len(writes(s.target)) > 0 {
				t.Errorf("%s: wrote %v", run.description, writes(s.target))
			}
			var kinds []string
			for _, one := range recordsOf(t, s.target, s.digest, nil) {
				kinds = append(kinds, one.Promotion.Kind)
			}
			if diff := cmp.Diff(run.want, kinds, cmpopts.SortSlices(func(a, b string) bool { return a > b })); diff != "" {
				t.Errorf("%s: recorded (-want +got):\n%s", run.description, diff)
			}
		}
	})
}

// TestARecordOfAnothersKeyIsEnough where that key is believed, and does not hide what was forced where it is not.
func TestARecordOfAnothersKeyIsEnough(t *testing.T) {
	t.Parallel()
	first, second := newKeyPair(t), newKeyPair(t)
	for _, row := range []struct {
		description, signer, believed string // of the run that forces, and of those after it
		records                       int
	}{
		{"believed", first.private, first.public + second.public, 1},
		{"not believed", first.private, "", 2},
		{"not signed", "", "", 2},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			eachKind(t, func(t *testing.T, s *stage) {
				held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
				if got := promote(t, s.with("FORCE", "true", "FORCE_REASON", "why", "RECORD_KEY", row.signer)); got.status != 0 {
					t.Fatal(got.log)
				}
				again := []string{"RECORD_KEY", second.private, "RECORD_PUBLIC_KEY", row.believed}
				if got := promote(t, s.with(again...)); got.status != 0 {
					t.Fatal(got.log)
				}
				all := recordsOf(t, s.target, s.digest, nil)
				if len(all) != row.records {
					t.Errorf("%d records, want %d", len(all), row.records)
				}
				to := s.target.Host() + "/" + hello + ":1.0"
				if last, err := record.LastForced(all, to, false, time.Now()); err != nil || last.Replaced != held {
					t.Errorf("what was forced is hidden: %+v, %v", last, err)
				}
			})
		})
	}
}

func TestForceIsRecorded(t *testing.T) {
	t.Parallel()
	eachKind(t, func(t *testing.T, s *stage) {
		held := push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
		got := promote(t, s.with("FORCE", "true", "FORCE_REASON", "the password hunter2 was in it", "PERSON", "jdoe",
			"DB_PASSWORD", "the password hunter2"))
		if got.status != 0 {
			t.Fatalf("status %d: %s", got.status, got.log)
		}
		to := s.target.Host() + "/" + hello + ":1.0"
		last, err := record.LastForced(recordsOf(t, s.target, s.digest, nil), to, false, time.Now())
		want := record.Promotion{
			Kind: "forced", From: s.source.Host() + "/" + hello + ":1.0", To: to, Digest: s.digest,
			Replaced: held, Backup: s.target.Host() + "/" + backupOf(held), Reason: "[MASKED] was in it", Person: "jdoe",
		}
		if diff := cmp.Diff(want, last, anyTime); diff != "" || err != nil {
			t.Errorf("%v (-want +got):\n%s", err, diff)
		}
	})
}

// TestWithoutItsRecordNoTagMoves breaks each write of the record.
func TestWithoutItsRecordNoTagMoves(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description, match string
		fault              faultyregistry.Fault
		status             int
		says               string
	}{
		{"its configuration is denied", "HEAD /blobs/" + emptyConfig, faultyregistry.Status(403, "DENIED"), 5, "writing the record"},
		{"its configuration is not there afterwards", "HEAD /blobs/" + emptyConfig, faultyregistry.Status(500, ""), 6, "writing the record"},
		{"what has a subject is refused", "PUT /manifests/", ofReferrers(faultyregistry.Status(400, "MANIFEST_INVALID")), 3, "RECORD=false"},
		{"what has a subject fails", "PUT /manifests/", ofReferrers(faultyregistry.Status(503, "")), 6, "writing the record"},
		{"the list fails", "PUT /manifests/sha256-", faultyregistry.Status(503, ""), 6, "writing the record"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.target.Break(row.match, -1, row.fault)
			got := promote(t, s.with())
			if got.status != row.status || !strings.Contains(got.last, row.says) || len(got.results) > 0 {
				t.Errorf("status %d, results %v, last line %q", got.status, got.results, got.last)
			}
			if now := holds(t, s.target, hello+":1.0"); now != "" {
				t.Errorf("the tag holds %q: it was written without the record", now)
			}
			if got := promote(t, s.with()); got.status != 0 || len(recordsOf(t, s.target, s.digest, nil)) != 1 {
				t.Errorf("the run after it: status %d: %s", got.status, got.log)
			}
		})
	}
}

// TestARegistryThatCannotTellOfRecords has GitLab's, which takes the tag of the list for the image itself.
func TestARegistryThatCannotTellOfRecords(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.target.Break("PUT /manifests/sha256-", -1, faultyregistry.Status(400, "TAG_INVALID"))
	got := promote(t, s.with())
	if got.status != 0 || !strings.Contains(got.log, "WRN the record is in the registry, which cannot tell of it") {
		t.Errorf("status %d: %s", got.status, got.log)
	}
	if now := holds(t, s.target, hello+":1.0"); now != s.digest {
		t.Errorf("the tag holds %q", now)
	}
}

const emptyConfig = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" // of {}

// ofReferrers has a fault befall manifests that have a subject, and no others.
func ofReferrers(fault faultyregistry.Fault) faultyregistry.Fault {
	return func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		body := must(io.ReadAll(r.Body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		if bytes.Contains(body, []byte(`"subject":`)) {
			fault(w, r, next)
			return
		}
		next.ServeHTTP(w, r)
	}
}

func TestVariablesOfRecords(t *testing.T) {
	t.Parallel()
	s, keys := newStage(t), newKeyPair(t)
	file := filepath.Join(t.TempDir(), "keys.pem")
	if err := os.WriteFile(file, []byte(keys.public), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		description string
		variables   []string
		says        string
	}{
		{"a key that is none", []string{"RECORD_KEY", "a key"}, "RECORD_KEY: reading the key: it is not in PEM form"},
		{"a password without a key", []string{"RECORD_KEY_PASSWORD", "a password"}, "RECORD_KEY is missing"},
		{"a key for nothing", []string{"RECORD_KEY", keys.private, "RECORD", "false"}, "RECORD_KEY is set, and RECORD=false"},
		{"public keys that are none", []string{"RECORD_PUBLIC_KEY", keys.private}, `RECORD_PUBLIC_KEY: reading public keys: "PRIVATE KEY" is no public key`},
		{"a file that is not there", []string{"RECORD_PUBLIC_KEY_FILE", file + "x"}, "RECORD_PUBLIC_KEY_FILE: "},
		{"public keys twice", []string{"RECORD_PUBLIC_KEY", keys.public, "RECORD_PUBLIC_KEY_FILE", file}, "are both set"},
		{"a gate without keys", []string{"REQUIRE_VERIFIED_IN", "staging"}, "RECORD_PUBLIC_KEY is missing: REQUIRE_VERIFIED_IN is set"},
		{"a soak nowhere", []string{"MIN_SOAK", "24h"}, "REQUIRE_VERIFIED_IN is missing: MIN_SOAK is set"},
		{"a soak that is none", []string{"REQUIRE_VERIFIED_IN", "staging", "MIN_SOAK", "-1h", "RECORD_PUBLIC_KEY_FILE", file}, "MIN_SOAK: -1h0m0s"},
		{"an address that is none", []string{"PIPELINE_URL", "javascript:alert(1)"}, "PIPELINE_URL"},
		{"a long name", []string{"PERSON", strings.Repeat("j", 300)}, "PERSON has more than 256"},
	} {
		got := promote(t, s.with(row.variables...))
		if got.status != 2 || !strings.Contains(got.last, row.says) || strings.Contains(got.log, "BEGIN PRIVATE") {
			t.Errorf("%s: status %d, last line %q; %q is wanted", row.description, got.status, got.last, row.says)
		}
	}
}
