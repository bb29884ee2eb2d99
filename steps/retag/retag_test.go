package retag_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/step"
	"dockline/steps/environment/fakecluster"
	"dockline/steps/retag"
)

const (
	host = "registry.test:5000"
	v10  = host + "/deepsky/hello:1.0"
	v11  = host + "/deepsky/hello:1.1"
)

var (
	d10 = "sha256:" + strings.Repeat("a", 64)
	d11 = "sha256:" + strings.Repeat("b", 64)
	d12 = "sha256:" + strings.Repeat("c", 64)
)

// outcome is what a user of the step sees.
type outcome struct {
	Status  int
	Results map[string]string
	last    string
	log     string
	stdout  string
}

// run runs retag to its end on the tag hello-app:dev with these settings beside the usual ones.
func run(t *testing.T, c *fakecluster.Cluster, settings ...string) outcome {
	t.Helper()
	return runAt(t, c.URL, append([]string{"REGISTRY=" + host, "TIMEOUT=30s"}, settings...)...)
}

// runAt runs retag against the cluster with that address.
func runAt(t *testing.T, url string, settings ...string) outcome {
	t.Helper()
	dir := t.TempDir()
	var stdout, stderr bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got := outcome{Results: map[string]string{}}
	got.Status = step.Run(ctx, retag.Impatient(), nil, append([]string{
		"KUBE_SERVER=" + url, "KUBE_TOKEN=good", "NAMESPACE=dev", "STREAM_TAG=hello-app:dev", "RESULTS_DIR=" + dir,
	}, settings...), &stdout, &stderr)
	for _, name := range []string{"PREVIOUS_DIGEST", "CURRENT_DIGEST"} {
		if value, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			got.Results[name] = string(value)
		}
	}
	got.log, got.stdout = stderr.String(), stdout.String()
	lines := strings.Split(strings.TrimSpace(got.log), "\n")
	got.last = lines[len(lines)-1]
	return got
}

// cluster has the images 1.0 and 1.1 in its registry.
func cluster(t *testing.T) *fakecluster.Cluster {
	c := fakecluster.New(t)
	c.Image(v10, fakecluster.Image{Digest: d10})
	c.Image(v11, fakecluster.Image{Digest: d11})
	return c
}

func image(t *testing.T, c *fakecluster.Cluster) string {
	t.Helper()
	spec := c.Get("deployments", "hello-app")["spec"].(map[string]any)["template"].(map[string]any)["spec"].(map[string]any)
	return spec["containers"].([]any)[0].(map[string]any)["image"].(string)
}

func specTag(t *testing.T, c *fakecluster.Cluster) map[string]any {
	t.Helper()
	tags := c.Get("imagestreams", "hello-app")["spec"].(map[string]any)["tags"].([]any)
	tag := tags[len(tags)-1].(map[string]any)
	delete(tag, "generation")
	return tag
}

func TestFirstDeploymentThenNextVersion(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	got := run(t, c, "IMAGE=deepsky/hello:1.0", "DIGEST="+d10, "CREATE_APP=true", "EXPECT_CURRENT=none")
	want := outcome{Results: map[string]string{"PREVIOUS_DIGEST": "", "CURRENT_DIGEST": d10}}
	if diff := cmp.Diff(want, got, cmp.FilterPath(hidden, cmp.Ignore())); diff != "" {
		t.Fatalf("first: (-want +got)\n%s\n%s", diff, got.log)
	}
	if c.Get("services", "hello-app") == nil || c.Get("routes", "hello-app") == nil {
		t.Error("CREATE_APP made no Service or no Route")
	}
	if now := image(t, c); now != host+"/deepsky/hello@"+d10 {
		t.Errorf("the Deployment runs %q", now)
	}
	got = run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11, "EXPECT_CURRENT="+d10)
	want = outcome{Results: map[string]string{"PREVIOUS_DIGEST": d10, "CURRENT_DIGEST": d11}}
	if diff := cmp.Diff(want, got, cmp.FilterPath(hidden, cmp.Ignore())); diff != "" {
		t.Fatalf("next: (-want +got)\n%s\n%s", diff, got.log)
	}
	if now := image(t, c); now != host+"/deepsky/hello@"+d11 {
		t.Errorf("the Deployment runs %q", now)
	}
	before := c.Writes()
	again := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11)
	if diff := cmp.Diff(want, again, cmp.FilterPath(hidden, cmp.Ignore())); diff != "" || c.Writes() != before {
		t.Errorf("a second run must change nothing and say the same (%d writes): (-want +got)\n%s", c.Writes()-before, diff)
	}
}

// hidden are the fields of outcome that are asserted apart.
func hidden(path cmp.Path) bool {
	name := path.Last().String()
	return name == ".last" || name == ".log" || name == ".stdout"
}

// TestEndings has a row for each way to end, with the exit status, words of the last line, and what the tag means then.
func TestEndings(t *testing.T) {
	t.Parallel()
	move := []string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11}
	for _, row := range []struct {
		name   string
		set    func(c *fakecluster.Cluster)
		with   []string
		status int
		last   string
		from   string // what the tag points at in the end
	}{
		{"moves a tag", nil, move, 0, "", v11},
		{"the token is refused", nil, append(move, "KUBE_TOKEN=bad-token"), 5, "Unauthorized", v10},
		{"a right is missing", func(c *fakecluster.Cluster) {
			c.Fail(func(method, path string) (int, string, string) {
				if method == "PUT" {
					return 403, "Forbidden", `User "x" cannot update resource "imagestreamtags"`
				}
				return 0, "", ""
			})
		}, move, 5, `cannot update resource "imagestreamtags"`, v10},
		{"the namespace is missing", nil, append(move, "NAMESPACE=nons"), 4, `namespaces "nons" not found`, v10},
		{"the cluster answers 500", func(c *fakecluster.Cluster) {
			c.Fail(func(string, string) (int, string, string) { return 500, "InternalError", "etcdserver: no leader" })
		}, move, 6, "etcdserver: no leader", v10},
		{"the cluster answers 500 once", func(c *fakecluster.Cluster) {
			times := 0
			c.Fail(func(string, string) (int, string, string) {
				if times++; times == 1 {
					return 500, "InternalError", "etcdserver: leader changed"
				}
				return 0, "", ""
			})
		}, move, 0, "", v11},
		{"the version is not in the registry", nil, []string{"IMAGE=deepsky/hello:9.9", "DIGEST=" + d11}, 4, "NotFound", v10},
		{"the cluster has no pull secret", func(c *fakecluster.Cluster) {
			c.Image(v11, fakecluster.Image{Reason: "Unauthorized", Message: "you may not have access"})
		}, move, 5, "you may not have access", v10},
		{"the cluster does not trust the registry", func(c *fakecluster.Cluster) {
			c.Image(v11, fakecluster.Image{Reason: "InternalError", Message: "x509: certificate signed by unknown authority"})
		}, move, 6, "IMPORT_INSECURE", v10},
		{"the version was moved before the start", func(c *fakecluster.Cluster) {
			c.Image(v11, fakecluster.Image{Digest: d12})
		}, move, 3, d12, v10},
		{"the import gives another digest", func(c *fakecluster.Cluster) { c.AlterImports(d12) }, move, 8, d12, v11},
		{"the environment is not what was planned for", nil, append(move, "EXPECT_CURRENT="+d12), 3, "EXPECT_CURRENT", v10},
		{"another tag of the stream moves at the same time", func(c *fakecluster.Cluster) {
			c.BeforeNextWrite(func(c *fakecluster.Cluster) { other(c, "other", v10) })
		}, move, 0, "", v11},
		{"the answer to the move is lost", func(c *fakecluster.Cluster) { c.LoseNextAnswer() }, move, 0, "", v11},
		{"the tag itself moves at the same time", func(c *fakecluster.Cluster) {
			c.Image(host+"/deepsky/hello:1.2", fakecluster.Image{Digest: d12})
			c.BeforeNextWrite(func(c *fakecluster.Cluster) { other(c, "dev", host+"/deepsky/hello:1.2") })
		}, move, 3, "somebody else moved it", host + "/deepsky/hello:1.2"},
		{"the import lasts for ever", func(c *fakecluster.Cluster) { c.Stick() }, append(move, "TIMEOUT=1s"), 7, "TIMEOUT=1s", v11},
		{"the trigger does nothing", func(c *fakecluster.Cluster) { c.DropTriggers() }, append(move, "TIMEOUT=1s"),
			7, "Deployment hello-app", v11},
		{"the new pods do not start", func(c *fakecluster.Cluster) { c.TroublePods("ImagePullBackOff") },
			append(move, "TIMEOUT=1s"), 7, "ImagePullBackOff", v11},
		{"the new pods do not start, and it goes back", func(c *fakecluster.Cluster) { c.TroublePods("ImagePullBackOff") },
			append(move, "TIMEOUT=1s", "ROLLBACK_ON_FAILURE=true"), 7, "ImagePullBackOff", "hello-app@" + d10},
		{"the imported digest is wrong, and it goes back", func(c *fakecluster.Cluster) { c.AlterImports(d12) },
			append(move, "ROLLBACK_ON_FAILURE=true"), 8, "the environment is back at " + d10, "hello-app@" + d10},
		{"goes back", func(c *fakecluster.Cluster) { c.Tag("hello-app", "dev", v11) }, []string{"ROLLBACK=true"},
			0, "", "hello-app@" + d10},
		{"nothing to go back to", nil, []string{"ROLLBACK=true"}, 4, "no earlier image", v10},
		{"an account in the API's address", nil, append(move, "KUBE_SERVER=https://bad-token@cluster.test"), 2, "KUBE_SERVER is an address", v10},
		{"an account in the image", nil, []string{"IMAGE=me:bad-token@host/a/b:1"}, 2, "IMAGE: reading the image", v10},
		{"nothing is configured right", nil, []string{"IMAGE=", "IMPORT_MODE=x", "DIGEST=y"}, 2, "IMPORT_MODE", v10},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			c := cluster(t)
			c.Tag("hello-app", "dev", v10)
			c.Follow("hello-app", "hello-app:dev", "")
			if row.set != nil {
				row.set(c)
			}
			got := run(t, c, row.with...)
			if got.Status != row.status || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d, want %d; the last line lacks %q:\n%s", got.Status, row.status, row.last, got.log)
			}
			if (got.Status == 0) != (len(got.Results) == 2) {
				t.Errorf("results %v with exit status %d", got.Results, got.Status)
			}
			if strings.Contains(got.log, "bad-token") {
				t.Error("the log tells the token")
			}
			c.Fail(nil)
			if from := specTag(t, c)["from"].(map[string]any)["name"]; from != row.from {
				t.Errorf("the tag points at %q in the end, want %q", from, row.from)
			}
		})
	}
}

// other moves a tag from inside of a request, where the cluster is locked already.
func other(c *fakecluster.Cluster, tag, reference string) { c.TagLocked("hello-app", tag, reference) }

func TestATokenOfAKubeconfigIsMasked(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Fail(func(string, string) (int, string, string) {
		return 403, "Forbidden", "sha256~of-a-kubeconfig has no right"
	})
	server := httptest.NewTLSServer(c) // client-go sends a kubeconfig's token by TLS alone
	t.Cleanup(server.Close)
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(kubeconfig, []byte(`{"clusters":[{"name":"c","cluster":{"server":"`+server.URL+`","certificate-authority-data":"`+ca+`"}}],
		"users":[{"name":"u","user":{"token":"sha256~of-a-kubeconfig"}}],
		"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	status := step.Run(t.Context(), retag.Program(), nil, []string{
		"KUBECONFIG=" + kubeconfig, "NAMESPACE=dev", "STREAM_TAG=hello-app:dev", "REGISTRY=" + host, "IMAGE=deepsky/hello:1.1", "DIGEST=" + d11,
	}, &log, &log)
	if status != 5 || !strings.Contains(log.String(), "[MASKED] has no right") || strings.Contains(log.String(), "of-a-kubeconfig") {
		t.Errorf("exit status %d:\n%s", status, &log)
	}
}

func TestRepetitionsAreTold(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	times := 0
	c.Fail(func(string, string) (int, string, string) {
		if times++; times == 1 {
			return 500, "InternalError", "etcdserver: leader changed"
		}
		return 0, "", ""
	})
	if got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11); got.Status != 0 ||
		!strings.Contains(got.log, "trying again (2 of 3) in 0s") || !strings.Contains(got.log, "etcdserver: leader changed") {
		t.Errorf("exit status %d, and the log does not tell of the repetition:\n%s", got.Status, got.log)
	}
}

func TestKeepsWhatIsOnTheTag(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Put("imagestreams", "hello-app", map[string]any{"spec": map[string]any{"tags": []any{map[string]any{
		"name": "dev", "generation": 1, "annotations": map[string]any{"owner": "team"}, "fieldOfTomorrow": "x",
		"from":            map[string]any{"kind": "DockerImage", "name": v10},
		"importPolicy":    map[string]any{"importMode": "PreserveOriginal", "scheduled": true},
		"referencePolicy": map[string]any{"type": "Local"},
	}}}, "status": map[string]any{"tags": []any{}}})
	if got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11, "IMPORT_INSECURE=true"); got.Status != 0 {
		t.Fatal(got.log)
	}
	want := map[string]any{
		"name": "dev", "fieldOfTomorrow": "x",
		"annotations":     map[string]any{"owner": "team", "dockline/retagged": v11},
		"from":            map[string]any{"kind": "DockerImage", "name": v11},
		"importPolicy":    map[string]any{"importMode": "PreserveOriginal", "scheduled": true, "insecure": true},
		"referencePolicy": map[string]any{"type": "Local"},
	}
	if diff := cmp.Diff(want, specTag(t, c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// TestWarningsAreTold has an API that warns, as of a version that goes away.
func TestWarningsAreTold(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	warning := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Warning", `299 - "v1 goes away"`)
		c.ServeHTTP(w, r)
	}))
	t.Cleanup(warning.Close)
	got := run(t, c, "KUBE_SERVER="+warning.URL, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11)
	if !strings.Contains(got.log, "WRN the cluster warns: v1 goes away\n") {
		t.Errorf("exit status %d:\n%s", got.Status, got.log)
	}
}
