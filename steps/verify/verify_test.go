package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/step"
	"dockline/steps/environment/fakecluster"
	"dockline/steps/verify"
)

// world is a registry and an environment that runs its hello:1.0, with a page that says so.
type world struct {
	registry *faultyregistry.Registry
	cluster  *fakecluster.Cluster
	page     *httptest.Server
	says     string
	d10, d11 string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{registry: faultyregistry.Start(t), cluster: fakecluster.New(t), says: "I'm using the version 1.0"}
	w.d10, w.d11 = w.push(t, "1.0"), w.push(t, "1.1")
	w.cluster.Tag("hello-app", "dev", w.reference("1.0"))
	w.cluster.Follow("hello-app", "hello-app:dev", "")
	w.page = httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(rw, r)
			return
		}
		_, _ = fmt.Fprintf(rw, "<h1>Hello World! %s</h1>", w.says)
	}))
	t.Cleanup(w.page.Close)
	return w
}

func (w *world) reference(version string) string {
	return w.registry.Host() + "/deepsky/hello:" + version
}

// push writes a new random image under a version, and makes it known to the cluster.
func (w *world) push(t *testing.T, version string) (digest string) {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(w.reference(version), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.Image(w.reference(version), fakecluster.Image{Digest: hash.String()})
	return hash.String()
}

// pushIndex writes a new random index of two images under a version, and makes it known to the cluster.
func (w *world) pushIndex(t *testing.T, version string) (digest string, children []string) {
	t.Helper()
	index, err := random.Index(64, 1, 2)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(w.reference(version), name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(tag, index); err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range manifest.Manifests {
		children = append(children, child.Digest.String())
	}
	hash, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	w.cluster.Image(w.reference(version), fakecluster.Image{Digest: hash.String(), Children: children})
	return hash.String(), children
}

type outcome struct {
	status          int
	verdict, digest string
	last, log, said string
	reports         string // folder
}

func (w *world) run(t *testing.T, settings ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := outcome{reports: dir}
	got.status = step.Run(ctx, verify.Program(), nil, append([]string{
		"KUBE_SERVER=" + w.cluster.URL, "KUBE_TOKEN=good", "NAMESPACE=dev", "STREAM_TAG=hello-app:dev",
		"RESULTS_DIR=" + dir, "REPORT_DIR=" + dir,
	}, settings...), &stdout, &stderr)
	verdict, _ := os.ReadFile(filepath.Join(dir, "VERDICT"))
	digest, _ := os.ReadFile(filepath.Join(dir, "CURRENT_DIGEST"))
	got.verdict, got.digest, got.log, got.said = string(verdict), string(digest), stderr.String(), stdout.String()
	lines := strings.Split(strings.TrimSpace(got.log), "\n")
	got.last = lines[len(lines)-1]
	return got
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		set     func(t *testing.T, w *world)
		with    func(w *world) []string
		status  int
		verdict string
		last    string
	}{
		{"describes when nothing is expected", nil, nil, 0, "described", ""},
		{"describes what is broken, too", func(_ *testing.T, w *world) {
			w.cluster.Tag("hello-app", "dev", w.reference("9.9"))
		}, nil, 0, "described", ""},
		{"the expected digest", nil, func(w *world) []string { return []string{"EXPECT_DIGEST=" + w.d10} }, 0, "right", ""},
		{"another digest", nil, func(w *world) []string { return []string{"EXPECT_DIGEST=" + w.d11} }, 8, "wrong", "image: hello-app:dev is"},
		{"the expected image", nil, func(w *world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.0"} }, 0, "right", ""},
		{"another image", nil, func(w *world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.1"} }, 8, "wrong", "image:"},
		{"an image that the registry lacks", nil, func(w *world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:9.9"} },
			4, "unknown", "it is not there"},
		{"the version was moved after the import", func(t *testing.T, w *world) { t.Helper(); w.push(t, "1.0") },
			func(w *world) []string { return []string{"EXPECT_IMAGE=deepsky/hello:1.0", "EXPECT_DIGEST=" + w.d10} },
			8, "wrong", "was moved"},
		{"the version was moved after the import, without EXPECT_IMAGE", func(t *testing.T, w *world) { t.Helper(); w.push(t, "1.0") },
			func(w *world) []string { return []string{"EXPECT_DIGEST=" + w.d10} }, 8, "wrong", "was moved after the import"},
		{"the import failed", func(_ *testing.T, w *world) { w.cluster.Tag("hello-app", "dev", w.reference("9.9")) },
			func(w *world) []string { return []string{"EXPECT_DIGEST=" + w.d10} }, 8, "wrong", "import failed (NotFound)"},
		{"the pods do not follow", func(_ *testing.T, w *world) {
			w.cluster.DropTriggers()
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}, func(w *world) []string { return []string{"EXPECT_DIGEST=" + w.d11} }, 8, "wrong", "pods: hello-app-1 runs"},
		{"the page is right", nil, func(w *world) []string {
			return []string{"URL=" + w.page.URL, "EXPECT_TEXT=version 1.0"}
		}, 0, "right", ""},
		{"the page says something else", nil, func(w *world) []string {
			return []string{"URL=" + w.page.URL, "EXPECT_TEXT=version 1.1"}
		}, 8, "wrong", `version 1.0</h1>\" instead of \"version 1.1\"`},
		{"the page has another status", nil, func(w *world) []string { return []string{"URL=" + w.page.URL + "/x"} },
			8, "wrong", "answers 404 instead of 200"},
		{"another status is expected", nil, func(w *world) []string {
			return []string{"URL=" + w.page.URL + "/x", "EXPECT_STATUS=404"}
		}, 0, "right", ""},
		{"nobody answers at the address", func(_ *testing.T, w *world) { w.page.Close() },
			func(w *world) []string { return []string{"URL=" + w.page.URL} }, 8, "wrong", "connection refused"},
		{"the stream is missing", nil, func(*world) []string { return []string{"STREAM_TAG=other:dev"} }, 4, "unknown", "not found"},
		{"the tag is missing", nil, func(*world) []string { return []string{"STREAM_TAG=hello-app:prod"} }, 4, "unknown", "has no tag"},
		{"the token is refused", nil, func(*world) []string { return []string{"KUBE_TOKEN=bad-token"} }, 5, "unknown", "Unauthorized"},
		{"the token is refused while waiting", nil, func(w *world) []string {
			return []string{"KUBE_TOKEN=bad-token", "TIMEOUT=20s", "EXPECT_DIGEST=" + w.d10}
		}, 5, "unknown", "Unauthorized"},
		{"it does not become right in time", nil, func(w *world) []string {
			return []string{"EXPECT_DIGEST=" + w.d11, "TIMEOUT=1s"}
		}, 7, "wrong", "TIMEOUT=1s is over"},
		{"nothing is configured right", nil, func(*world) []string {
			return []string{"NAMESPACE=", "EXPECT_DIGEST=x", "URL=ftp://x", "EXPECT_STATUS=1000"}
		}, 2, "", "EXPECT_STATUS"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if row.set != nil {
				row.set(t, w)
			}
			settings := []string{"REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true"}
			if row.with != nil {
				settings = append(settings, row.with(w)...)
			}
			got := w.run(t, settings...)
			if got.status != row.status || got.verdict != row.verdict || !strings.Contains(got.last, strings.ReplaceAll(row.last, `\"`, `"`)) {
				t.Errorf("exit status %d (want %d), VERDICT %q (want %q), and the last line must say %q:\n%s%s",
					got.status, row.status, got.verdict, row.verdict, row.last, got.log, got.said)
			}
			if (got.status == 0) != (got.digest != "") {
				t.Errorf("CURRENT_DIGEST is %q with exit status %d", got.digest, got.status)
			}
		})
	}
}

// TestSecretsInTheAddress has a page's address with what must not show: in the log, the table or a report.
func TestSecretsInTheAddress(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, url string
		stop      bool
		status    int
		last      string
	}{
		{"an account", "http://S3CRETtoken@HOST/", false, 2, "URL holds an account"},
		{"an account with a password", "http://me:S3CRETpassword@HOST/", false, 2, "URL holds an account"},
		{"an account that does not parse", "http://me:S3CRET%zz@HOST/", false, 2, "URL is no address"},
		{"a parameter", "http://HOST/x?t=S3CRETtoken", false, 8, "answers 404"},
		{"a parameter, and nobody answers", "http://HOST/x?t=S3CRETtoken", true, 8, "connection refused"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			if row.stop {
				w.page.Close()
			}
			got := w.run(t, "URL="+strings.ReplaceAll(row.url, "HOST", strings.TrimPrefix(w.page.URL, "http://")))
			if got.status != row.status || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d, want %d; the last line must say %q:\n%s", got.status, row.status, row.last, got.log)
			}
			said := got.log + got.said
			for _, name := range []string{"verify.json", "verify.xml", "verify.html"} {
				content, _ := os.ReadFile(filepath.Join(got.reports, name))
				said += string(content)
			}
			if strings.Contains(said, "S3CRET") {
				t.Errorf("the secret shows in\n%s", said)
			}
		})
	}
}

// TestAnIndexWhoseImageTheTagMeans has a tag in Legacy mode, and the digest of the index expected. Whether the tag's
// image is of that index is for the registry to tell; that it does not is no verdict.
func TestAnIndexWhoseImageTheTagMeans(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name        string
		fault       faultyregistry.Fault // on the index
		times       int
		without     bool // REGISTRY
		status      int
		verdict     string
		last, hears string // parts of the last line and of the log
	}{
		{name: "is looked into", status: 0, verdict: "right"},
		{name: "without a registry", without: true, status: 8, verdict: "wrong", last: "several platforms"},
		{name: "away", fault: faultyregistry.RetryAfter(503, 900), times: -1, status: 6, verdict: "unknown", last: "503 Service Unavailable"},
		{name: "away once", fault: faultyregistry.RetryAfter(503, 1), times: 1, status: 0, verdict: "right", hears: "trying again (2 of 6) in 1s"},
		{name: "not allowed", fault: faultyregistry.Status(401, "UNAUTHORIZED"), times: -1, status: 5, verdict: "unknown", last: "401 Unauthorized"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			index, children := w.pushIndex(t, "2.0")
			w.cluster.Tag("hello-app", "dev", w.reference("2.0"))
			if row.fault != nil {
				w.registry.Break("GET /manifests/"+index, row.times, row.fault)
			}
			settings := []string{"EXPECT_DIGEST=" + index}
			if !row.without {
				settings = append(settings, "REGISTRY="+w.registry.Host(), "REGISTRY_INSECURE=true")
			}
			got := w.run(t, settings...)
			if got.status != row.status || got.verdict != row.verdict || !strings.Contains(got.last, row.last) || !strings.Contains(got.log, row.hears) {
				t.Errorf("exit status %d (want %d), VERDICT %q (want %q); the last line must say %q, and the log %q:\n%s",
					got.status, row.status, got.verdict, row.verdict, row.last, row.hears, got.log)
			}
			if got.status == 0 && got.digest != children[0] {
				t.Errorf("CURRENT_DIGEST is %q, want the one of the tag, %q", got.digest, children[0])
			}
		})
	}
}

func TestNoVerdictOfAnEarlierRunStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{"VERDICT", "verify.env", "verify.json", "verify.xml", "verify.html"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("VERDICT=right"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	status := step.Run(t.Context(), verify.Program(), nil,
		[]string{"RESULTS_DIR=" + dir, "REPORT_DIR=" + dir, "DOTENV_FILE=" + filepath.Join(dir, "verify.env")}, &log, &log)
	if status != 2 {
		t.Errorf("exit status %d:\n%s", status, &log)
	}
	for _, name := range files {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s still says %q", name, content)
		}
	}
}

// TestALookThatIsBrokenOffFindsNothing ends a run, by a signal or by TIMEOUT, while the page is being fetched. It is not
// parallel: the signal is for all runs in this process.
func TestALookThatIsBrokenOffFindsNothing(t *testing.T) {
	for _, row := range []struct {
		name      string
		answers   int32 // that come before one that does not
		terminate bool
		timeout   string
		status    int
		verdict   string
		last      string
	}{
		{"terminated in the only look", 0, true, "", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"terminated in the first look", 0, true, "30s", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"terminated in a later look", 1, true, "30s", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"out of time in the first look", 0, false, "1s", 7, "unknown", "TIMEOUT=1s is over"},
		{"out of time in a later look", 1, false, "3s", 7, "wrong", `version 1.0</h1>" instead of "version 1.1"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			var calls atomic.Int32
			page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if calls.Add(1) <= row.answers {
					_, _ = fmt.Fprintf(rw, "<h1>version 1.0</h1>")
					return
				}
				if row.terminate {
					_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
				}
				<-r.Context().Done()
			}))
			t.Cleanup(page.Close)
			got := w.run(t, "URL="+page.URL, "EXPECT_TEXT=version 1.1", "TIMEOUT="+row.timeout)
			if got.status != row.status || got.verdict != row.verdict || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d (want %d), VERDICT %q (want %q), and the last line must say %q:\n%s",
					got.status, row.status, got.verdict, row.verdict, row.last, got.log)
			}
		})
	}
}

func TestWaitsUntilRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patched := w.push(t, "1.0")
	time.AfterFunc(time.Second, func() { w.cluster.Tag("hello-app", "dev", w.reference("1.0")) }) // the scheduled import
	got := w.run(t, "REGISTRY="+w.registry.Host(), "REGISTRY_INSECURE=true", "EXPECT_IMAGE=deepsky/hello:1.0", "TIMEOUT=30s")
	if got.status != 0 || got.verdict != "right" || got.digest != patched {
		t.Errorf("exit status %d, VERDICT %q, CURRENT_DIGEST %q, want %q\n%s", got.status, got.verdict, got.digest, patched, got.log)
	}
}

func TestReports(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.says = `<script>alert("1")</script>`
	w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
	stream := w.cluster.Get("imagestreams", "hello-app")
	for _, item := range stream["status"].(map[string]any)["tags"].([]any)[0].(map[string]any)["items"].([]any) {
		item.(map[string]any)["created"] = "2020-01-02T03:04:05Z" // so that the age is no matter of how fast this runs
	}
	w.cluster.Put("imagestreams", "hello-app", stream)
	got := w.run(t, "EXPECT_DIGEST="+w.d10, "URL="+w.page.URL, "EXPECT_TEXT=version 1.0")
	read := func(name string) []byte {
		content, err := os.ReadFile(filepath.Join(got.reports, name))
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	var report struct {
		Verdict, TaggedFrom, Digest string
		History                     []struct{ Digest string }
		Checks                      []struct{ Name, Status string }
	}
	if err := json.Unmarshal(read("verify.json"), &report); err != nil {
		t.Fatal(err)
	}
	var checks []string
	for _, check := range report.Checks {
		checks = append(checks, check.Name+" "+check.Status)
	}
	if diff := cmp.Diff([]string{"import ok", "image wrong", "workloads ok", "pods ok", "page wrong"}, checks); diff != "" {
		t.Errorf("checks (-want +got)\n%s", diff)
	}
	if report.Verdict != "wrong" || report.Digest != w.d11 || len(report.History) != 2 || report.TaggedFrom != w.reference("1.1") {
		t.Errorf("the report is %+v", report)
	}
	var suite struct {
		Tests    int `xml:"tests,attr"`
		Failures int `xml:"failures,attr"`
	}
	if err := xml.Unmarshal(read("verify.xml"), &suite); err != nil || suite.Tests != 5 || suite.Failures != 2 {
		t.Errorf("JUnit has %+v (%v)", suite, err)
	}
	page := string(read("verify.html"))
	if strings.Contains(page, "<script") || !strings.Contains(page, "is not right") || !strings.Contains(page, w.d11) {
		t.Errorf("the page is\n%s", page)
	}
	for _, word := range []string{w.reference("1.1"), w.d11, " days ago", "wrong"} {
		if !strings.Contains(got.said, word) {
			t.Errorf("the table lacks %q:\n%s", word, got.said)
		}
	}
}
