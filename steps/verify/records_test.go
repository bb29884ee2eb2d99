package verify_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/record"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/steps/environment/fakecluster"
	"dockline/steps/promote"
)

// keyPair is a new key, as PEM.
func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	privateDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	publicDER, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateDER})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: publicDER}))
}

// judged runs verify in staging, with the key.
func (w *world) judged(t *testing.T, key string, settings ...string) outcome {
	t.Helper()
	return w.run(t, append([]string{
		"REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true", "RECORD_KEY=" + key, "ENVIRONMENT=staging", "PERSON=jdoe",
		"PIPELINE_URL=https://me:password@gitlab.example.com/-/pipelines/41",
	}, settings...)...)
}

// said returns the verdicts that are recorded of an image, the oldest first.
func (w *world) said(t *testing.T, digest, public string) (verdicts []string, records []record.Signed) {
	t.Helper()
	w.registry.Mend()
	opened, err := registry.Open(registry.Config{Address: w.registry.Host(), Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close()
	keys, err := record.ReadKeys([]byte(public))
	if err != nil {
		t.Fatal(err)
	}
	hash, err := v1.NewHash(digest)
	if err != nil {
		t.Fatal(err)
	}
	records, err = record.Verifications(t.Context(), opened.Repository("deepsky/hello"), hash, keys)
	if err != nil {
		t.Fatal(err)
	}
	for _, one := range records {
		if one.Key == "" {
			t.Errorf("a record is not signed: %+v", one.Verification)
		}
		verdicts = append(verdicts, one.Verification.Verdict)
	}
	return verdicts, records
}

// promoted runs promote of a version into another registry, with these variables, and returns its status and last line.
func (w *world) promoted(t *testing.T, version string, to *faultyregistry.Registry, settings ...string) (status int, last string) {
	t.Helper()
	var log bytes.Buffer
	status = step.Run(t.Context(), promote.Program(), nil, append([]string{
		"IMAGE=deepsky/hello:" + version, "SOURCE_REGISTRY=" + w.registry.Host(), "SOURCE_REGISTRY_INSECURE=true",
		"TARGET_REGISTRY=" + to.Host(), "TARGET_REGISTRY_INSECURE=true",
	}, settings...), &bytes.Buffer{}, &log)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	return status, lines[len(lines)-1]
}

// TestAVerdictOpensTheGate has the whole way: verify's word in one environment lets promote go on, and closes it again.
func TestAVerdictOpensTheGate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	production := faultyregistry.Start(t)
	private, public := keyPair(t)
	gate := []string{"REQUIRE_VERIFIED_IN=staging", "RECORD_PUBLIC_KEY=" + public}
	if status, last := w.promoted(t, "1.0", production, gate...); status != 3 || !strings.Contains(last, "it has no record") {
		t.Errorf("before: status %d, %s", status, last)
	}
	page := []string{"EXPECT_IMAGE=deepsky/hello:1.0", "URL=" + w.page.URL + "/?token=S3CRET"}

	got := w.judged(t, private, page...)
	verdicts, records := w.said(t, w.d10, public)
	if got.status != 0 || cmp.Diff([]string{"right"}, verdicts) != "" || !strings.Contains(got.said, "record ") {
		t.Fatalf("status %d, recorded %v: %s%s", got.status, verdicts, got.log, got.said)
	}
	v := records[0].Verification
	if v.Environment != "staging" || v.Person != "jdoe" || v.Pipeline != "https://gitlab.example.com/-/pipelines/41" ||
		v.URL != w.page.URL+"/" || v.Since.IsZero() || records[0].Image != "deepsky/hello" {
		t.Errorf("recorded %+v of %q", v, records[0].Image)
	}
	if status, last := w.promoted(t, "1.0", production, gate...); status != 0 {
		t.Errorf("verified: status %d, %s", status, last)
	}
	if status, last := w.promoted(t, "1.0", production, append(gate, "MIN_SOAK=24h")...); status != 3 || !strings.Contains(last, "24h0m0s are wanted") {
		t.Errorf("not soaked: status %d, %s", status, last)
	}

	w.registry.Forget()
	got = w.judged(t, private, page...)
	for _, request := range w.registry.Requests() {
		if !strings.HasPrefix(request, "GET ") {
			t.Errorf("what is recorded already led to %s", request)
		}
	}
	if got.status != 0 || !strings.Contains(got.log, "recorded already: right") {
		t.Errorf("status %d: %s", got.status, got.log)
	}

	w.says = "out of order"
	got = w.judged(t, private, append(page, "EXPECT_TEXT=version 1.0")...)
	if verdicts, _ := w.said(t, w.d10, public); got.status != 8 || cmp.Diff([]string{"right", "wrong"}, sorted(verdicts)) != "" {
		t.Errorf("status %d, recorded %v: %s", got.status, verdicts, got.log)
	}
	if status, last := w.promoted(t, "1.0", production, gate...); status != 3 || !strings.Contains(last, "found wrong") {
		t.Errorf("found wrong: status %d, %s", status, last)
	}
}

func TestWhatTheEnvironmentLeftIsRecorded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	private, public := keyPair(t)
	w.judged(t, private, "EXPECT_IMAGE=deepsky/hello:1.0")
	w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
	for _, digest := range []string{w.d11, w.d11} {
		if got := w.judged(t, private, "EXPECT_DIGEST="+digest); got.status != 0 {
			t.Fatalf("status %d: %s", got.status, got.log)
		}
	}
	before, _ := w.said(t, w.d10, public)
	now, _ := w.said(t, w.d11, public)
	if diff := cmp.Diff([][]string{{"left", "right"}, {"right"}}, [][]string{sorted(before), now}); diff != "" {
		t.Errorf("recorded of the image before, and of the one now (-want +got):\n%s", diff)
	}
}

func TestWhatIsNotRecorded(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name     string
		settings func(w *world) []string
		set      func(w *world)
		status   int
		verdict  string
		last     string
	}{
		{"a description", func(*world) []string { return nil }, nil, 0, "described", ""},
		{"an environment that cannot be read", func(*world) []string { return []string{"KUBE_TOKEN=bad-token", "EXPECT_IMAGE=deepsky/hello:1.0"} },
			nil, 5, "unknown", "Unauthorized"},
		{"without permission", func(*world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.0"} },
			func(w *world) { w.registry.Break("POST /blobs/uploads/", -1, faultyregistry.Status(403, "DENIED")) },
			5, "right", `recording the verdict "right"`},
		{"without permission, and wrong", func(w *world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.0", "URL=" + w.page.URL + "/x"} },
			func(w *world) { w.registry.Break("POST /blobs/uploads/", -1, faultyregistry.Status(403, "DENIED")) },
			8, "wrong", `recording the verdict "wrong"`},
		{"where nobody could find it", func(*world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.0"} },
			func(w *world) {
				w.registry.Break("PUT /manifests/sha256-", -1, faultyregistry.Status(400, "TAG_INVALID"))
			},
			3, "right", "recording the verdict"},
		{"of an image that is elsewhere", func(w *world) []string {
			return []string{"REGISTRY=" + w.registry.Host() + "/team", "URL=" + w.page.URL}
		},
			nil, 3, "right", "not in REGISTRY"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			private, public := keyPair(t)
			if row.set != nil {
				row.set(w)
			}
			got := w.judged(t, private, row.settings(w)...)
			if got.status != row.status || got.verdict != row.verdict || !strings.Contains(got.last, row.last) {
				t.Errorf("status %d, VERDICT %q, last line %q; %d, %q and %q are wanted",
					got.status, got.verdict, got.last, row.status, row.verdict, row.last)
			}
			if verdicts, _ := w.said(t, w.d10, public); len(verdicts) > 0 {
				t.Errorf("recorded %v", verdicts)
			}
		})
	}
}

func TestVariablesOfRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	private, _ := keyPair(t)
	for _, row := range []struct {
		name, setting, last string
	}{
		{"in an environment without a name", "REGISTRY=" + w.registry.Host(), "ENVIRONMENT is missing: RECORD_KEY is set"},
		{"in no registry", "ENVIRONMENT=staging", "REGISTRY is missing: RECORD_KEY is set"},
		{"with a key that is none", "RECORD_KEY=x", "RECORD_KEY: reading the key"},
	} {
		got := w.run(t, "RECORD_KEY="+private, "EXPECT_DIGEST="+w.d10, row.setting)
		if got.status != 2 || !strings.Contains(got.last, row.last) {
			t.Errorf("%s: status %d, last line %q; %q is wanted", row.name, got.status, got.last, row.last)
		}
	}
}

// TestWhoPromotedIsShown promotes into the registry that the environment runs from, and looks at the reports.
func TestWhoPromotedIsShown(t *testing.T) {
	t.Parallel()
	private, public := keyPair(t)
	_, another := keyPair(t)
	for _, row := range []struct {
		name     string
		settings []string // of promote
		known    string   // to verify
		says     []string
	}{
		{"unsigned", []string{"PERSON=jdoe"}, public, []string{"copied from ", " by jdoe at ", ", unsigned"}},
		{"signed", []string{"RECORD_KEY=" + private}, another + public, []string{", signed by "}},
		{"signed by another", []string{"RECORD_KEY=" + private}, another, []string{", signed by a key that is not known here"}},
		{"no record", []string{"RECORD=false"}, public, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			testing, w := newWorld(t), newWorld(t)
			if status, last := testing.promoted(t, "1.0", w.registry, append(row.settings, "RELEASE_VERSION=2.0")...); status != 0 {
				t.Fatalf("status %d: %s", status, last)
			}
			w.cluster.Image(w.reference("2.0"), fakeImage(testing.d10))
			w.cluster.Tag("hello-app", "dev", w.reference("2.0"))
			got := w.run(t, "EXPECT_IMAGE=deepsky/hello:2.0", "REGISTRY="+w.registry.Host(), "REGISTRY_INSECURE=true", "RECORD_PUBLIC_KEY="+row.known)
			page, _ := os.ReadFile(filepath.Join(got.reports, "verify.html"))
			document, _ := os.ReadFile(filepath.Join(got.reports, "verify.json"))
			var report struct{ Promotion map[string]any }
			if err := json.Unmarshal(document, &report); err != nil || got.status != 0 {
				t.Fatalf("status %d, %v: %s", got.status, err, got.log)
			}
			if len(row.says) == 0 && (report.Promotion != nil || strings.Contains(got.said, "promoted")) {
				t.Errorf("there is no record, and it says %q", got.said)
			}
			for _, text := range row.says {
				if !strings.Contains(got.said, text) || !strings.Contains(string(page), text) {
					t.Errorf("%q is missing in\n%s\n%s", text, got.said, page)
				}
			}
			if len(row.says) > 0 && report.Promotion["to"] != w.reference("2.0") {
				t.Errorf("the report says %v", report.Promotion)
			}
		})
	}
}

// TestARecordOfWhatTheVersionIsNotIsNotShown moves the version after it was promoted.
func TestARecordOfWhatTheVersionIsNotIsNotShown(t *testing.T) {
	t.Parallel()
	testing, w := newWorld(t), newWorld(t)
	if status, last := testing.promoted(t, "1.0", w.registry, "RELEASE_VERSION=2.0"); status != 0 {
		t.Fatalf("status %d: %s", status, last)
	}
	w.cluster.Image(w.reference("2.0"), fakeImage(testing.d10))
	w.cluster.Tag("hello-app", "dev", w.reference("2.0"))
	w.push(t, "2.0")
	got := w.run(t, "EXPECT_IMAGE=deepsky/hello:2.0", "EXPECT_DIGEST="+testing.d10, "REGISTRY="+w.registry.Host(), "REGISTRY_INSECURE=true")
	if got.status != 8 || strings.Contains(got.said, "promoted") {
		t.Errorf("status %d: %s", got.status, got.said)
	}
}

func fakeImage(digest string) fakecluster.Image { return fakecluster.Image{Digest: digest} }

// sorted is for verdicts of one second, which are in any order.
func sorted(verdicts []string) []string {
	slices.Sort(verdicts)
	return verdicts
}
