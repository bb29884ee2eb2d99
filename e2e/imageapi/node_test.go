package imageapi_test

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/imageapi"
)

// TestProcesses sees a service through a rollout as its users do: by its route, while real processes come and go.
func TestProcesses(t *testing.T) {
	t.Parallel()
	program := buildHello(t)
	w := newProcessWorld(t)
	w.pushHello(program, "1.0", nil)
	w.pushHello(program, "1.1", nil)
	w.pushHello(program, "broken", []string{"CRASH=yes"})
	for plural, object := range map[string]map[string]any{
		"deployments": imageapi.Deployment("dev", "web", "hello:dev"),
		"services": {
			"metadata": map[string]any{"name": "web", "namespace": "dev"},
			"spec": map[string]any{
				"selector": map[string]any{"deployment": "web"}, "ports": []any{map[string]any{"port": 8080}},
			},
		},
		"routes": {
			"metadata": map[string]any{"name": "web", "namespace": "dev"},
			"spec":     map[string]any{"to": map[string]any{"name": "web"}},
		},
	} {
		if _, err := w.Create(plural, object); err != nil {
			t.Fatal(err)
		}
	}
	if status, _ := w.fetch("/dev/web/", ""); status != http.StatusServiceUnavailable {
		t.Errorf("without a pod the route answers %d, want 503", status)
	}

	w.tag("1.0")
	w.untilAnswers("version 1.0, message of 1.0, <nil>, path /deep/er")
	if status, body := w.fetch("/", "web-dev.apps.test"); status != 200 || !strings.Contains(body, "version 1.0") {
		t.Errorf("by its host the route answers %d %q", status, body)
	}
	first := w.pid()

	w.tag("1.1")
	w.untilAnswers("version 1.1, message of 1.1, <nil>, path /deep/er")
	w.until("the old process is gone", func() bool { return gone(first) })

	w.tag("broken")
	w.until("the new pod crashes, with its last words", func() bool {
		for _, pod := range w.List("pods", "dev") {
			for _, one := range list(pod, "status", "containerStatuses") {
				waiting, _ := one["state"].(map[string]any)["waiting"].(map[string]any)
				if waiting["reason"] == "CrashLoopBackOff" && one["restartCount"].(int64) > 0 &&
					strings.Contains(fmt.Sprint(waiting["message"]), "exit status 3: no database to be found") {
					return true
				}
			}
		}
		return false
	})
	w.untilAnswers("version 1.1")
	second := w.pid()
	w.Close()
	if !gone(second) {
		t.Errorf("process %d is still there after Close", second)
	}
	if left, err := os.ReadDir(w.dir); err != nil || len(left) > 0 {
		t.Errorf("after Close the node's folder holds %v (%v), want nothing", left, err)
	}
}

// TestProcessImageMissing asks for a digest that the registry lacks.
func TestProcessImageMissing(t *testing.T) {
	t.Parallel()
	w := newProcessWorld(t)
	object := imageapi.Deployment("dev", "web", "hello:dev")
	delete(object["metadata"].(map[string]any), "annotations")
	missing := w.image + "@sha256:" + strings.Repeat("0", 64)
	list(object, "spec", "template", "spec", "containers")[0]["image"] = missing
	if _, err := w.Create("deployments", object); err != nil {
		t.Fatal(err)
	}
	w.until("the pod waits with the registry's reason", func() bool {
		for _, pod := range w.List("pods", "dev") {
			for _, one := range list(pod, "status", "containerStatuses") {
				waiting, _ := one["state"].(map[string]any)["waiting"].(map[string]any)
				return waiting["reason"] == "ImagePullBackOff" && strings.Contains(fmt.Sprint(waiting["message"]), "not found") ||
					strings.Contains(fmt.Sprint(waiting["message"]), "MANIFEST_UNKNOWN")
			}
		}
		return false
	})
}

type processWorld struct {
	*world
	dir    string
	router string
}

func newProcessWorld(t *testing.T) *processWorld {
	dir := t.TempDir()
	// The registry of the test speaks plain http, which the node must be told.
	w := &processWorld{dir: dir, world: newWorldWith(t, func(registry string) imageapi.Options {
		return imageapi.Options{Runner: &imageapi.ProcessRunner{Dir: dir, Output: t.Output(), Insecure: []string{registry}}}
	})}
	router := httptest.NewServer(w.Router())
	t.Cleanup(router.Close)
	w.router = router.URL
	return w
}

// buildHello builds the service that the pods run, as a static program.
func buildHello(t *testing.T) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", path, "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building hello: %v\n%s", err, output)
	}
	program, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// pushHello pushes an image of two layers, the second of which replaces a file of the first.
func (w *processWorld) pushHello(program []byte, version string, env []string) {
	w.t.Helper()
	image, err := mutate.AppendLayers(empty.Image,
		tarLayer(w.t, map[string]string{"bin/hello": string(program), "srv/message": "to be replaced"}),
		tarLayer(w.t, map[string]string{"srv/message": "message of " + version}))
	if err != nil {
		w.t.Fatal(err)
	}
	image, err = mutate.Config(image, v1.Config{Entrypoint: []string{"hello"}, Env: append(env, "PATH=/usr/bin:/bin", "V="+version)})
	if err != nil {
		w.t.Fatal(err)
	}
	ref, err := name.ParseReference(w.image + ":" + version)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := remote.Write(ref, image, remote.WithContext(w.t.Context())); err != nil {
		w.t.Fatal(err)
	}
	digest, err := image.Digest()
	if err != nil {
		w.t.Fatal(err)
	}
	w.digests[version] = digest.String()
}

func tarLayer(t *testing.T, files map[string]string) v1.Layer {
	t.Helper()
	var data bytes.Buffer
	writer := tar.NewWriter(&data)
	for path, content := range files {
		header := &tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(content))}
		if err := writer.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(writer, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	return layer
}

func (w *processWorld) fetch(path, host string) (int, string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, w.router+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	request.Host = host
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

func (w *processWorld) untilAnswers(text string) {
	w.t.Helper()
	w.until("the route answers "+text, func() bool {
		status, body := w.fetch("/dev/web/deep/er", "")
		return status == http.StatusOK && strings.Contains(body, text)
	})
}

func (w *processWorld) pid() int {
	_, body := w.fetch("/dev/web/", "")
	match := regexp.MustCompile(`pid (\d+)`).FindStringSubmatch(body)
	if match == nil {
		w.t.Fatalf("the service does not tell its process: %q", body)
	}
	pid, _ := strconv.Atoi(match[1])
	return pid
}

func gone(pid int) bool { return syscall.Kill(pid, 0) == syscall.ESRCH }
