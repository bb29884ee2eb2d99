package verify_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

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
	secure   *httptest.Server // with a certificate of its own making; nil unless a test starts it
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
