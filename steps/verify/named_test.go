package verify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/imageapi"
	"dockline/pkg/step"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

// plainDeployer has the rights that retag and verify need with WORKLOADS, and no others.
var plainDeployer = imageapi.User{Name: "system:serviceaccount:dev:deployer", Token: "good", Rules: []imageapi.Rule{
	{Resources: []string{"deployments", "statefulsets", "daemonsets", "cronjobs"}, Verbs: []string{"get", "patch"}},
	{Resources: []string{"pods"}, Verbs: []string{"list"}},
}}

// plain is a cluster that is used without its image streams, and a registry.
type plain struct {
	*world
	api    *imageapi.Server
	server *httptest.Server
	host   string // REGISTRY
}

func newPlain(t *testing.T) *plain {
	t.Helper()
	p := &plain{world: newWorld(t), api: imageapi.New(imageapi.Options{
		Namespaces: []string{"dev"}, ProgressDeadline: 2 * time.Second,
		Users: []imageapi.User{plainDeployer, {Name: "owner", Token: "owner", Rules: imageapi.Admin}},
	})}
	p.server, p.host = httptest.NewServer(p.api), p.registry.Host()
	t.Cleanup(func() { p.server.CloseClientConnections(); p.server.Close(); p.api.Close() })
	return p
}

// ask has the owner of the namespace write an object under a field manager.
func (p *plain) ask(t *testing.T, method, path, manager string, object any) {
	t.Helper()
	body, err := json.Marshal(object)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, p.server.URL+path+"?fieldManager="+manager, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer owner")
	request.Header.Set("Content-Type", "application/merge-patch+json")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = answer.Body.Close() }()
	if answer.StatusCode >= 300 {
		t.Fatalf("%s %s: %s", method, path, answer.Status)
	}
}

// start makes a workload of that kind whose init container migrate and containers have the image, as `kubectl apply` does.
func (p *plain) start(t *testing.T, plural, name, image string, containers ...string) {
	t.Helper()
	labels := map[string]any{"app": name}
	var list []any
	for _, container := range containers {
		list = append(list, map[string]any{"name": container, "image": image})
	}
	template := map[string]any{"metadata": map[string]any{"labels": labels}, "spec": map[string]any{
		"initContainers": []any{map[string]any{"name": "migrate", "image": image}}, "containers": list,
	}}
	spec := map[string]any{"selector": map[string]any{"matchLabels": labels}, "template": template}
	group := "apps"
	if plural == "cronjobs" {
		group, spec = "batch", map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": map[string]any{"template": template}}}
	}
	p.ask(t, http.MethodPost, "/apis/"+group+"/v1/namespaces/dev/"+plural, "kubectl-client-side-apply",
		map[string]any{"metadata": map[string]any{"name": name}, "spec": spec})
}

// images returns the images of a workload's pod template by container.
func (p *plain) images(t *testing.T, plural, name string) map[string]string {
	t.Helper()
	object, err := p.api.Get(plural, "dev", name)
	if err != nil {
		t.Fatal(err)
	}
	spec := object["spec"].(map[string]any)
	if plural == "cronjobs" {
		spec = spec["jobTemplate"].(map[string]any)["spec"].(map[string]any)
	}
	pod := spec["template"].(map[string]any)["spec"].(map[string]any)
	found := map[string]string{}
	for _, list := range []string{"initContainers", "containers"} {
		for _, container := range pod[list].([]any) {
			fields := container.(map[string]any)
			found[fmt.Sprint(fields["name"])] = fmt.Sprint(fields["image"])
		}
	}
	return found
}

// generation counts the changes of a workload's spec.
func (p *plain) generation(t *testing.T, plural, name string) string {
	t.Helper()
	object, err := p.api.Get(plural, "dev", name)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(object["metadata"].(map[string]any)["generation"])
}

func (p *plain) byDigest(digest string) string { return p.registry.Host() + "/deepsky/hello@" + digest }

type plainOutcome struct {
	status            int
	current, previous string
	log               string
}

func (p *plain) run(t *testing.T, program step.Program, settings ...string) plainOutcome {
	t.Helper()
	return p.runUntil(t.Context(), t, program, settings...)
}

func (p *plain) runUntil(ctx context.Context, t *testing.T, program step.Program, settings ...string) plainOutcome {
	t.Helper()
	dir := t.TempDir()
	switch program.Name {
	case "retag":
		settings = append(settings, "TIMEOUT=20s")
	case "verify":
		settings = append(settings, "REPORT_DIR="+dir)
		defer func() {
			if report, err := os.ReadFile(filepath.Join(dir, "verify.json")); err == nil {
				valid(t, report)
			}
		}()
	}
	var out bytes.Buffer
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	got := plainOutcome{status: step.Run(ctx, program, nil, append([]string{
		"KUBE_SERVER=" + p.server.URL, "KUBE_TOKEN=good", "NAMESPACE=dev", "REGISTRY=" + p.host,
		"REGISTRY_INSECURE=true", "RESULTS_DIR=" + dir, "REPORT_FILE=" + filepath.Join(dir, "report.json"),
	}, settings...), &out, &out)}
	current, _ := os.ReadFile(filepath.Join(dir, "CURRENT_DIGEST"))
	previous, _ := os.ReadFile(filepath.Join(dir, "PREVIOUS_DIGEST"))
	got.current, got.previous, got.log = string(current), string(previous), out.String()
	return got
}

// TestStoryWithoutImageStreams takes workloads over from kubectl, sets a version, the next one, goes back, and judges
// each time.
func TestStoryWithoutImageStreams(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	for plural, name := range map[string]string{"deployments": "web", "statefulsets": "db", "daemonsets": "log", "cronjobs": "report"} {
		p.start(t, plural, name, p.reference("1.0"), "app")
	}
	const all = "WORKLOADS=deployment/web, deployment/web:migrate,statefulset/db,daemonset/log,cronjob/report:app"
	d10, d11 := p.d10, p.d11
	for _, row := range []struct {
		name              string
		program           func() step.Program
		with              []string
		status            int
		previous, current string
		says              string
	}{
		{"a template with a tag", verify.Program, []string{"EXPECT_DIGEST=" + d10}, 8, "", "", "Deployment web (container app) has " + p.reference("1.0")},
		{"kubectl has the image", retag.Program, []string{"IMAGE=deepsky/hello:1.0"}, 3, "", "", `it is managed by "kubectl-client-side-apply". Hint: TAKE_OVER_FROM`},
		{"another one is to be taken over", retag.Program, []string{"IMAGE=deepsky/hello:1.0", "TAKE_OVER_FROM=helm"}, 3, "", "", "kubectl-client-side-apply"},
		{"taken over", retag.Program, []string{"IMAGE=deepsky/hello:1.0", "TAKE_OVER_FROM=helm,kubectl-client-side-apply"}, 0, "", d10, ""},
		{"is right", verify.Program, []string{"EXPECT_IMAGE=deepsky/hello:1.0"}, 0, "", d10, "set from"},
		{"not 1.1 yet", verify.Program, []string{"EXPECT_DIGEST=" + d11, "TIMEOUT=1s"}, 7, "", "", "the pod templates have " + d10 + " instead of " + d11},
		{"another digest than planned", retag.Program, []string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + d10}, 3, "", "", "The version was moved"},
		{"another environment than planned", retag.Program, []string{"IMAGE=deepsky/hello:1.1", "EXPECT_CURRENT=" + d11}, 3, "", "", "EXPECT_CURRENT says"},
		{"next version", retag.Program, []string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11, "EXPECT_CURRENT=" + d10}, 0, d10, d11, ""},
		{"again", retag.Program, []string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + d11, "EXPECT_CURRENT=" + d10}, 0, d10, d11, "it has this image already"},
		{"the next is right", verify.Program, []string{"EXPECT_IMAGE=deepsky/hello:1.1"}, 0, "", d11, ""},
		{"back to another one", retag.Program, []string{"ROLLBACK=true", "DIGEST=" + d11}, 4, "", "", "its earlier image is"},
		{"back", retag.Program, []string{"ROLLBACK=true"}, 0, d11, d10, ""},
		{"back again goes no further", retag.Program, []string{"ROLLBACK=true"}, 0, d11, d10, "it was rolled back already"},
		{"forward", retag.Program, []string{"IMAGE=deepsky/hello:1.1"}, 0, d10, d11, ""},
	} {
		got := p.run(t, row.program(), append([]string{all}, row.with...)...)
		if got.status != row.status || got.current != row.current || got.previous != row.previous || !strings.Contains(got.log, row.says) {
			t.Fatalf("%s: exit status %d (want %d), from %q to %q; the log must say %q:\n%s",
				row.name, got.status, row.status, got.previous, got.current, row.says, got.log)
		}
		if row.status == 0 {
			want := map[string]string{"migrate": p.byDigest(row.current), "app": p.byDigest(row.current)}
			if diff := cmp.Diff(want, p.images(t, "deployments", "web")); diff != "" {
				t.Fatalf("%s (-want +got)\n%s", row.name, diff)
			}
		}
	}
	if got := p.generation(t, "deployments", "web"); got != "5" {
		t.Errorf("the Deployment was changed %s times: once by its owner and 4 times by retag is enough", got)
	}
	p.push(t, "1.1")
	if got := p.run(t, verify.Program(), all, "EXPECT_DIGEST="+d11); got.status != 8 || !strings.Contains(got.log, "was moved since it was set") {
		t.Errorf("the version was moved in the registry: exit status %d\n%s", got.status, got.log)
	}
	p.ask(t, http.MethodPatch, "/apis/apps/v1/namespaces/dev/statefulsets/db", "kubectl-edit", map[string]any{
		"spec": map[string]any{"template": map[string]any{"spec": map[string]any{"containers": []any{
			map[string]any{"name": "app", "image": p.byDigest(d10)},
		}}}},
	})
	if got := p.run(t, verify.Program(), all, "EXPECT_DIGEST="+d11); got.status != 8 || !strings.Contains(got.log, "StatefulSet db (container app) has "+p.byDigest(d10)) {
		t.Errorf("one was edited by hand: exit status %d\n%s", got.status, got.log)
	}
	if got := p.run(t, retag.Program(), all, "IMAGE=deepsky/hello:1.1"); got.status != 3 || !strings.Contains(got.log, `StatefulSet db: it is managed by "kubectl-edit"`) {
		t.Errorf("one was edited by hand: exit status %d\n%s", got.status, got.log)
	}
	if image := p.images(t, "deployments", "web")["app"]; image != p.byDigest(d11) {
		t.Errorf("the first workload was changed before the second one was refused: it has %s", image)
	}
}

// TestInterruptedBetweenWorkloads: the same run again sets those that are left, and tells the image from before the
// first one.
func TestInterruptedBetweenWorkloads(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.start(t, "deployments", "web", p.byDigest(p.d10), "app")
	p.start(t, "statefulsets", "db", p.byDigest(p.d10), "app")
	settings := []string{"WORKLOADS=deployment/web,statefulset/db", "IMAGE=deepsky/hello:1.1",
		"EXPECT_CURRENT=" + p.d10, "TAKE_OVER_FROM=kubectl-client-side-apply"}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	p.api.SetFaults(imageapi.Faults{Request: func(r *http.Request) int {
		if r.Method == http.MethodPatch && strings.Contains(r.URL.Path, "statefulsets") && r.URL.Query().Get("dryRun") == "" {
			stop()
			return imageapi.AbortConnection
		}
		return 0
	}})
	got := p.runUntil(ctx, t, retag.Program(), settings...)
	web, db := p.images(t, "deployments", "web")["app"], p.images(t, "statefulsets", "db")["app"]
	if got.status == 0 || !strings.Contains(got.log, "start the same step again to see it through") || web != p.byDigest(p.d11) || db != p.byDigest(p.d10) {
		t.Fatalf("exit status %d; web has %s, and db %s\n%s", got.status, web, db, got.log)
	}
	p.api.SetFaults(imageapi.Faults{})
	got = p.run(t, retag.Program(), settings...)
	if db := p.images(t, "statefulsets", "db")["app"]; got.status != 0 || got.previous != p.d10 || got.current != p.d11 || db != p.byDigest(p.d11) {
		t.Errorf("again: exit status %d, from %s to %s\n%s", got.status, got.previous, got.current, got.log)
	}
}

// TestNamedWorkloadsThatCannotBeSet has nothing changed where one of several workloads cannot be set.
func TestNamedWorkloadsThatCannotBeSet(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.start(t, "deployments", "web", p.reference("1.0"), "app", "sidecar")
	if _, err := p.api.Create("deployments", imageapi.Deployment("dev", "follower", "hello:dev")); err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, workloads string
		status          int
		says            string
	}{
		{"it is missing", "deployment/web:app,deployment/other", 4, `Deployment "other"`},
		{"its container is missing", "deployment/web:app,deployment/web:web", 4, `Deployment web has no container "web", only migrate, app, sidecar`},
		{"it has two containers", "deployment/web", 2, "Deployment web has 2 containers: say which as deployment/web:CONTAINER"},
		{"it follows a stream tag", "deployment/web:app,deployment/follower", 3, "image stream tag hello:dev"},
		{"no right to look", "deployment/web:app,deploymentconfig/x", 5, "deploymentconfigs"},
	} {
		got := p.run(t, retag.Program(), "WORKLOADS="+row.workloads, "IMAGE=deepsky/hello:1.1", "TAKE_OVER_FROM=kubectl-client-side-apply")
		if got.status != row.status || !strings.Contains(got.log, row.says) {
			t.Errorf("%s: exit status %d (want %d); the log must say %q:\n%s", row.name, got.status, row.status, row.says, got.log)
		}
	}
	if got := p.generation(t, "deployments", "web"); got != "1" {
		t.Errorf("the Deployment was changed: its generation is %s", got)
	}
}

// TestContainersOneByOne: what one run sets, the next one keeps, although a server-side apply removes what it leaves out.
func TestContainersOneByOne(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.start(t, "deployments", "web", p.reference("1.0"), "app", "sidecar")
	for _, container := range []string{"app", "migrate", "sidecar"} {
		got := p.run(t, retag.Program(), "WORKLOADS=deployment/web:"+container, "IMAGE=deepsky/hello:1.1", "TAKE_OVER_FROM=kubectl-client-side-apply")
		if got.status != 0 {
			t.Fatalf("%s: exit status %d\n%s", container, got.status, got.log)
		}
	}
	got := p.run(t, retag.Program(), "WORKLOADS=deployment/web:sidecar", "ROLLBACK=true")
	want := map[string]string{"app": p.byDigest(p.d11), "migrate": p.byDigest(p.d11), "sidecar": p.reference("1.0")}
	if diff := cmp.Diff(want, p.images(t, "deployments", "web")); got.status != 0 || diff != "" {
		t.Errorf("exit status %d (-want +got)\n%s\n%s", got.status, diff, got.log)
	}
}

// TestFailedRolloutGoesBack: a version whose program ends at once, and before it one that was rolled out.
func TestFailedRolloutGoesBack(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	p.start(t, "deployments", "web", p.reference("1.0"), "app")
	p.start(t, "statefulsets", "db", p.reference("1.0"), "app")
	const both = "WORKLOADS=statefulset/db,deployment/web"
	if got := p.run(t, retag.Program(), both, "IMAGE=deepsky/hello:1.0", "TAKE_OVER_FROM=kubectl-client-side-apply"); got.status != 0 {
		t.Fatal(got.log)
	}
	p.api.SetFaults(imageapi.Faults{Crash: func(image string) string {
		if strings.HasSuffix(image, p.d11) {
			return "back-off 10s restarting failed container"
		}
		return ""
	}})
	got := p.run(t, retag.Program(), both, "IMAGE=deepsky/hello:1.1", "ROLLBACK_ON_FAILURE=true")
	if got.status != 8 || !strings.Contains(got.log, "the workloads have again what they had before") {
		t.Fatalf("exit status %d\n%s", got.status, got.log)
	}
	for plural, name := range map[string]string{"deployments": "web", "statefulsets": "db"} {
		if image := p.images(t, plural, name)["app"]; image != p.byDigest(p.d10) {
			t.Errorf("%s has %s", plural, image)
		}
	}
	again := p.run(t, retag.Program(), both, "ROLLBACK=true")
	if again.status != 0 || again.current != p.d10 {
		t.Errorf("a rollback of the rollback: exit status %d, CURRENT_DIGEST %s\n%s", again.status, again.current, again.log)
	}
}

// TestPodsOfAnIndex: a node reports the image of its platform, of which only the registry knows that it is in the index.
func TestPodsOfAnIndex(t *testing.T) {
	t.Parallel()
	p := newPlain(t)
	index, children := p.pushIndex(t, "2.0")
	if _, err := p.api.Create("images", map[string]any{ // which the node knows the platforms from
		"metadata":             map[string]any{"name": index},
		"dockerImageManifests": []any{map[string]any{"digest": children[0], "os": "linux", "architecture": runtime.GOARCH}},
	}); err != nil {
		t.Fatal(err)
	}
	p.start(t, "deployments", "web", p.reference("1.0"), "app")
	set := []string{"WORKLOADS=deployment/web", "IMAGE=deepsky/hello:2.0", "TAKE_OVER_FROM=kubectl-client-side-apply"}
	if got := p.run(t, retag.Program(), set...); got.status != 0 || got.current != index {
		t.Fatalf("exit status %d\n%s", got.status, got.log)
	}
	for _, pod := range p.api.List("pods", "dev") {
		status := pod["status"].(map[string]any)["containerStatuses"].([]any)[0].(map[string]any)
		if !strings.HasSuffix(fmt.Sprint(status["imageID"]), children[0]) {
			t.Errorf("the pod runs %v", status["imageID"])
		}
	}
	for _, expected := range []string{"EXPECT_IMAGE=deepsky/hello:2.0", "EXPECT_DIGEST=" + index} {
		if got := p.run(t, verify.Program(), "WORKLOADS=deployment/web", expected); got.status != 0 {
			t.Errorf("%s: exit status %d\n%s", expected, got.status, got.log)
		}
	}
	p.host = ""
	if got := p.run(t, verify.Program(), "WORKLOADS=deployment/web", "EXPECT_DIGEST="+index); got.status != 8 || !strings.Contains(got.log, "set REGISTRY to where it is") {
		t.Errorf("without a registry: exit status %d\n%s", got.status, got.log)
	}
}
