package verify_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/faultyregistry"
	"dockline/steps/environment/fakecluster"
)

// link is one way in which the chain from the registry to the page can be broken, and what verify says of it.
type link struct {
	between string // which link it is
	broken  string
	set     func(t *testing.T, w *world)
	with    func(w *world) []string // in addition to the image, the digest and the page that are expected
	status  int
	verdict string
	check   string // the one that finds it; "" where nothing is broken or it cannot be told
	says    string // by that check, and in the last line
}

// elsewhere is a digest of no image here.
const elsewhere = "sha256:00000000000000000000000000000000000000000000000000000000000000ff"

// alter changes an object of the cluster.
func (w *world) alter(plural, name string, change func(object fakecluster.Object)) {
	object := w.cluster.Get(plural, name)
	change(object)
	w.cluster.Put(plural, name, object)
}

// retagged leaves retag's annotation on the tag.
func (w *world) retagged(at string) {
	w.alter("imagestreams", "hello-app", func(object fakecluster.Object) {
		spec := object["spec"].(fakecluster.Object)["tags"].([]any)[0].(fakecluster.Object)
		spec["annotations"] = fakecluster.Object{"dockline/retagged": at}
	})
}

// pod adds one to those of hello-app that runs this digest.
func (w *world) pod(name, digest string) {
	object := w.cluster.Get("pods", "hello-app-1")
	container := object["status"].(fakecluster.Object)["containerStatuses"].([]any)[0].(fakecluster.Object)
	container["imageID"] = w.registry.Host() + "/deepsky/hello@" + digest
	w.cluster.Put("pods", name, object)
}

// denies has the cluster answer requests whose path holds part with a status.
func denies(part string, status int, reason string) func(*testing.T, *world) {
	return func(_ *testing.T, w *world) {
		w.cluster.Fail(func(_, path string) (int, string, string) {
			if strings.Contains(path, part) {
				return status, reason, "no " + part + " for you"
			}
			return 0, "", ""
		})
	}
}

func links() []link {
	only := func(settings ...string) func(*world) []string { return func(*world) []string { return settings } }
	follow := func(paused string) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			w.cluster.Follow("hello-app", "hello-app:dev", paused)
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}
	}
	expect11 := func(w *world) []string {
		return []string{"EXPECT_IMAGE=deepsky/hello:1.1", "EXPECT_DIGEST=" + w.d11, "EXPECT_TEXT="}
	}
	deployment := func(change func(deployment, spec, status fakecluster.Object)) func(*testing.T, *world) {
		return func(_ *testing.T, w *world) {
			w.alter("deployments", "hello-app", func(object fakecluster.Object) {
				change(object, object["spec"].(fakecluster.Object), object["status"].(fakecluster.Object))
			})
		}
	}
	return []link{
		{"all", "nothing", nil, nil, 0, "right", "", ""},

		{"registry", "the version was moved since the import", func(t *testing.T, w *world) { t.Helper(); w.push(t, "1.0") },
			nil, 8, "wrong", "registry", "was moved"},
		{"registry", "likewise, where EXPECT_DIGEST alone is expected", func(t *testing.T, w *world) { t.Helper(); w.push(t, "1.0") },
			only("EXPECT_IMAGE="), 8, "wrong", "registry", "was moved after the import"},
		{"registry", "the version that the tag was imported from is gone, and EXPECT_DIGEST alone is expected", func(_ *testing.T, w *world) {
			w.registry.Break("GET /manifests/1.0", -1, faultyregistry.Status(404, "MANIFEST_UNKNOWN"))
		}, only("EXPECT_IMAGE="), 8, "wrong", "registry", "is not in the registry"},
		{"registry", "the version that is expected is not there", nil, only("EXPECT_IMAGE=deepsky/hello:9.9", "EXPECT_DIGEST="),
			4, "unknown", "", "it is not there"},

		{"stream tag", "what was imported is not what was promoted", func(t *testing.T, w *world) { t.Helper(); w.push(t, "1.0") },
			only("EXPECT_DIGEST="), 8, "wrong", "image", "instead of sha256:"},
		{"stream tag", "the tag was moved to another version", func(_ *testing.T, w *world) {
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}, nil, 8, "wrong", "image", "instead of sha256:"},
		{"stream tag", "nothing, and retag must have moved the tag", func(_ *testing.T, w *world) { w.retagged(w.reference("1.0")) },
			only("EXPECT_RETAGGED=true"), 0, "right", "", ""},
		{"stream tag", "the tag was moved by hand, to the same image: retag's annotation is gone", func(_ *testing.T, w *world) {
			w.retagged(w.reference("1.0"))
			w.cluster.Tag("hello-app", "dev", w.reference("1.0"))
		}, only("EXPECT_RETAGGED=true"), 8, "wrong", "retagged", "retag's annotation is gone"},
		{"stream tag", "the tag was changed by hand, and retag's annotation names something else", func(_ *testing.T, w *world) {
			w.retagged(w.reference("0.9"))
		}, only("EXPECT_RETAGGED=true"), 8, "wrong", "retagged", "and retag pointed it at"},
		{"stream tag", "the latest import failed", func(_ *testing.T, w *world) { w.cluster.Tag("hello-app", "dev", w.reference("9.9")) },
			nil, 8, "wrong", "import", "import failed (NotFound)"},
		{"stream tag", "the import is not finished", func(_ *testing.T, w *world) {
			w.cluster.Stick()
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}, nil, 8, "wrong", "import", "is not finished"},

		{"template", "the template was not updated", func(_ *testing.T, w *world) {
			w.cluster.DropTriggers()
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}, expect11, 8, "wrong", "workloads", "has not written the digest into the pod template yet"},
		{"template", "the image trigger is paused", follow("true"), expect11, 8, "wrong", "workloads", "its image trigger is paused"},
		{"template", "the image trigger is broken (paused is a text)", follow(`"false"`), expect11, 8, "wrong", "workloads", "its image trigger is broken: paused must be"},

		{"rollout", "new pods cannot start", func(_ *testing.T, w *world) {
			w.cluster.TroublePods("ImagePullBackOff")
			w.cluster.Tag("hello-app", "dev", w.reference("1.1"))
		}, expect11, 8, "wrong", "workloads", "ImagePullBackOff"},
		{"rollout", "the cluster has given up", deployment(func(_, _, status fakecluster.Object) {
			status["conditions"] = []any{fakecluster.Object{"type": "Progressing", "status": "False",
				"reason": "ProgressDeadlineExceeded", "message": "timed out progressing"}}
		}), nil, 8, "wrong", "workloads", "ProgressDeadlineExceeded"},
		{"rollout", "the rollout is paused", deployment(func(_, spec, _ fakecluster.Object) { spec["paused"] = true }),
			nil, 8, "wrong", "workloads", "its rollout is paused"},
		{"rollout", "old pods are left", deployment(func(_, _, status fakecluster.Object) { status["replicas"] = 2 }),
			nil, 8, "wrong", "workloads", "1 old pods are left"},

		{"pods", "pods run two images", func(_ *testing.T, w *world) { w.pod("hello-app-2", w.d11) },
			nil, 8, "wrong", "pods", "hello-app-2 runs sha256:"},
		{"pods", "a pod runs an image of an index that the tag means", func(t *testing.T, w *world) {
			t.Helper()
			w.tagIndex(t)
		}, only("EXPECT_IMAGE=deepsky/hello:2.0", "EXPECT_DIGEST="), 0, "right", "", ""},
		{"pods", "a pod runs an image that is not of the index that the tag means", func(t *testing.T, w *world) {
			t.Helper()
			w.tagIndex(t)
			w.pod("hello-app-1", elsewhere)
		}, only("EXPECT_IMAGE=deepsky/hello:2.0", "EXPECT_DIGEST="), 8, "wrong", "pods", "hello-app-1 runs sha256:000000000000"},
		{"pods", "a pod is not ready", func(_ *testing.T, w *world) {
			w.alter("pods", "hello-app-1", func(object fakecluster.Object) {
				object["status"].(fakecluster.Object)["conditions"] = []any{fakecluster.Object{"type": "Ready", "status": "False"}}
			})
		}, nil, 8, "wrong", "pods", "hello-app-1 is not ready"},

		{"page", "the route leads to another service", func(_ *testing.T, w *world) { w.says = "I'm another service" },
			nil, 8, "wrong", "page", "instead of \"version 1.0\""},
		{"page", "the route leads nowhere", nil, func(w *world) []string { return []string{"URL=" + w.page.URL + "/gone"} },
			8, "wrong", "page", "answers 404 instead of 200"},
		{"page", "nobody answers", func(_ *testing.T, w *world) { w.page.Close() }, nil, 8, "wrong", "page", "connection refused"},
		{"page", "the certificate is signed by nobody that is known", nil, func(w *world) []string {
			return []string{"URL=" + w.secure.URL}
		}, 8, "wrong", "page", "tls: failed to verify certificate"},

		{"cannot tell", "the namespace is missing", nil, only("NAMESPACE=other"), 4, "unknown", "", "not found"},
		{"cannot tell", "the tag is missing", nil, only("STREAM_TAG=hello-app:qa"), 4, "unknown", "", "has no tag"},
		{"cannot tell", "the token has expired", nil, only("KUBE_TOKEN=expired"), 5, "unknown", "", "Unauthorized"},
		{"cannot tell", "the stream may not be read", denies("imagestreams/", 403, "Forbidden"), nil, 5, "unknown", "", "no imagestreams/ for you"},
		{"cannot tell", "the pods may not be read", denies("/pods", 403, "Forbidden"), nil, 5, "unknown", "", "no /pods for you"},
		{"cannot tell", "the image may not be read", denies("imagestreamimages/", 403, "Forbidden"), nil, 5, "unknown", "", "no imagestreamimages/ for you"},
		{"cannot tell", "the registry lets nobody in", func(_ *testing.T, w *world) {
			w.registry.Break("GET /manifests/1.0", -1, faultyregistry.Status(401, "UNAUTHORIZED"))
		}, nil, 5, "unknown", "", "401 Unauthorized"},
		{"cannot tell", "the registry is away", func(_ *testing.T, w *world) {
			w.registry.Break("GET /manifests/1.0", -1, faultyregistry.RetryAfter(503, 900))
		}, nil, 6, "unknown", "", "503 Service Unavailable"},
		{"cannot tell", "the tag still is another image when TIMEOUT is over", nil, func(w *world) []string {
			return append(expect11(w), "TIMEOUT=1s")
		}, 7, "wrong", "image", "instead of sha256:"},

		{"compared", "the other environment runs the same image, as it must", anotherRuns("1.0"), compared("same"), 0, "right", "", ""},
		{"compared", "the other environment is behind, and this one must be ahead", anotherRuns("0.9"), compared("ahead"), 0, "right", "", ""},
		{"compared", "the other environment is ahead, and that is not judged", anotherRuns("1.1"), compared(""), 0, "right", "", ""},
		{"compared", "the other environment is ahead, and both must run the same", anotherRuns("1.1"), compared("same"), 8, "wrong", "compared", "behind (by"},
		{"compared", "the other environment is ahead, and this one must be the same or ahead", anotherRuns("1.1"), compared("same-or-ahead"),
			8, "wrong", "compared", "behind (by"},
		{"compared", "nothing tells which is newer, and both must run the same", anotherRuns("unlabelled"), compared("same"), 8, "wrong", "compared", "different (neither"},
		{"compared", "nothing tells which is newer, and this one must be ahead", anotherRuns("unlabelled"), compared("ahead"),
			6, "unknown", "", "which is newer cannot be told"},
		{"compared", "a patch of an old version was built later, and this one must be ahead", anotherRuns("0.9-late"), compared("ahead"),
			6, "unknown", "", "say one thing"},
		{"compared", "the other stream is missing", nil, only("COMPARE_WITH=dev/other:prod"), 4, "unknown", "", "not found"},
		{"compared", "the other namespace is missing", nil, only("COMPARE_WITH=prod/hello-app:prod"), 4, "unknown", "", "not found"},
		{"compared", "the other tag is missing", nil, only("COMPARE_WITH=dev/hello-app:prod", "EXPECT_COMPARED=same"), 4, "unknown", "", "has no tag"},
		{"compared", "the other environment may not be read", denies("imagestreams/other", 403, "Forbidden"),
			only("COMPARE_WITH=dev/other:prod"), 5, "unknown", "", "no imagestreams/other for you"},
		{"compared", "the other environment's import failed", anotherRuns("9.9"), compared(""), 6, "unknown", "", "its import failed (NotFound)"},
		{"compared", "the other environment's import is not finished", func(_ *testing.T, w *world) {
			w.cluster.Tag("other", "prod", w.reference("1.0"))
			w.cluster.Stick()
			w.cluster.Tag("other", "prod", w.reference("1.1"))
		}, compared("same"), 6, "unknown", "", "is not finished"},
	}
}

// anotherRuns has another environment run a version, and all images say what they are.
func anotherRuns(version string) func(*testing.T, *world) {
	return func(t *testing.T, w *world) {
		t.Helper()
		for _, image := range []struct{ tag, version, built, revision string }{
			{"0.9", "0.9", "2026-01-01T10:00:00Z", "a0"}, {"1.0", "1.0", "2026-02-01T10:00:00Z", "a1"},
			{"1.1", "1.1", "2026-03-01T10:00:00Z", "a2"}, {"0.9-late", "0.9.1", "2026-04-01T10:00:00Z", "a3"},
			{"unlabelled", "", "1970-01-01T00:00:00Z", ""},
		} {
			digest := map[string]string{"1.0": w.d10, "1.1": w.d11}[image.tag]
			if digest == "" {
				digest = w.push(t, image.tag)
			}
			w.cluster.Image(w.reference(image.tag), fakecluster.Image{Digest: digest, Created: image.built, Labels: map[string]string{
				"org.opencontainers.image.version": image.version, "org.opencontainers.image.revision": image.revision,
			}})
		}
		w.cluster.Tag("other", "prod", w.reference(version))
	}
}

func compared(expected string) func(*world) []string {
	return func(*world) []string { return []string{"COMPARE_WITH=dev/other:prod", "EXPECT_COMPARED=" + expected} }
}

// tagIndex has the environment run version 2.0, an index that the tag keeps as it is; the pod runs its second image.
func (w *world) tagIndex(t *testing.T) {
	t.Helper()
	index, children := w.pushIndex(t, "2.0")
	w.cluster.Tag("hello-app", "dev", w.reference("2.0"))
	w.alter("imagestreams", "hello-app", func(object fakecluster.Object) {
		spec := object["spec"].(fakecluster.Object)["tags"].([]any)[0].(fakecluster.Object)
		spec["importPolicy"] = fakecluster.Object{"importMode": "PreserveOriginal"}
		item := object["status"].(fakecluster.Object)["tags"].([]any)[0].(fakecluster.Object)["items"].([]any)[0].(fakecluster.Object)
		item["image"], item["dockerImageReference"] = index, w.registry.Host()+"/deepsky/hello@"+index
	})
	w.cluster.Follow("hello-app", "hello-app:dev", "")
	w.pod("hello-app-1", children[1])
}

// TestEveryBreakOfTheChain breaks each link in turn, and keeps docs/verify.md equal to what verify says of it.
func TestEveryBreakOfTheChain(t *testing.T) {
	t.Parallel()
	rows := links()
	lines := make([]string, len(rows))
	t.Run("links", func(t *testing.T) {
		for i, row := range rows {
			t.Run(row.between+": "+row.broken, func(t *testing.T) {
				t.Parallel()
				lines[i] = row.run(t)
			})
		}
	})
	table := "| link | what is broken | status | `VERDICT` | the check that finds it | says |\n| --- | --- | --- | --- | --- | --- |\n" +
		strings.Join(lines, "\n") + "\n"
	documented(t, "../../docs/verify.md", table)
}

// run verifies, checks what came of it, and says so in a line of the table.
func (l link) run(t *testing.T) string {
	t.Helper()
	w := newWorld(t)
	w.secure = httptest.NewUnstartedServer(http.NotFoundHandler())
	w.secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.secure.StartTLS()
	t.Cleanup(w.secure.Close)
	settings := []string{"REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true", "EXPECT_IMAGE=deepsky/hello:1.0",
		"EXPECT_DIGEST=" + w.d10, "URL=" + w.page.URL, "EXPECT_TEXT=version 1.0"}
	if l.set != nil {
		l.set(t, w)
	}
	if l.with != nil {
		for _, setting := range l.with(w) { // which takes the place of what is there
			name, _, _ := strings.Cut(setting, "=")
			settings = slices.DeleteFunc(settings, func(there string) bool { return strings.HasPrefix(there, name+"=") })
			settings = append(settings, setting)
		}
	}
	got := w.run(t, settings...)
	if got.status != l.status || got.verdict != l.verdict {
		t.Errorf("exit status %d, VERDICT %q; want %d and %q\n%s", got.status, got.verdict, l.status, l.verdict, got.log)
	}
	if l.status != 0 && !strings.Contains(got.last, l.says) {
		t.Errorf("the last line must say %q:\n%s", l.says, got.last)
	}
	document, err := os.ReadFile(filepath.Join(got.reports, "verify.json"))
	if err != nil {
		t.Fatal(err)
	}
	valid(t, document)
	var report struct {
		Checks []struct{ Name, Status, Found string }
	}
	if err := json.Unmarshal(document, &report); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, check := range report.Checks {
		if check.Name == l.check && check.Status == "wrong" {
			found = strings.Contains(check.Found, l.says)
		}
		if l.check == "" && check.Status == "wrong" {
			t.Errorf("%s is wrong: %s", check.Name, check.Found)
		}
	}
	if l.check != "" && !found {
		t.Errorf("the check %q must be wrong and say %q: %+v", l.check, l.says, report.Checks)
	}
	check, says := "—", "—"
	if l.check != "" {
		check = l.check
	}
	if l.says != "" {
		says = "“" + l.says + "”"
	}
	return fmt.Sprintf("| %s | %s | %d | %s | %s | %s |", l.between, l.broken, l.status, l.verdict, check, says)
}

// documented compares a page's table with the true one, or writes it when DOCKLINE_UPDATE is true.
func documented(t *testing.T, path, table string) {
	t.Helper()
	page, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(table, "\n")
	before, rest, found := bytes.Cut(page, []byte(head))
	if !found {
		t.Fatalf("%s has no table %q", path, head)
	}
	there, after, _ := strings.Cut(head+string(rest), "\n\n")
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		if t.Failed() {
			return
		}
		if err := os.WriteFile(path, []byte(string(before)+table+"\n"+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(strings.TrimSuffix(there, "\n")+"\n", table); diff != "" {
		t.Errorf("%s is stale: run this test with DOCKLINE_UPDATE=true (-there +should be)\n%s", path, diff)
	}
}
