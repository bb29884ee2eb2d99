package verify_test

import (
	"strings"
	"testing"

	"dockline/e2e/faultyregistry"
)

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
