package imageapi_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"dockline/e2e/imageapi"
)

var (
	listAll   = metav1.ListOptions{}
	namespace = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
	secrets   = schema.GroupVersionResource{Version: "v1", Resource: "secrets"}
	streams   = schema.GroupVersionResource{Group: "image.openshift.io", Version: "v1", Resource: "imagestreams"}
)

func dynamicClient(t *testing.T, url string, ca []byte) dynamic.NamespaceableResourceInterface {
	return newClient(t, url, ca).Resource(namespace)
}

func newClient(t *testing.T, url string, ca []byte) dynamic.Interface {
	t.Helper()
	client, err := dynamic.NewForConfig(&rest.Config{
		Host: url, BearerToken: "admin", TLSClientConfig: rest.TLSClientConfig{CAData: ca},
	})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// TestDynamicClient does with the client that Dockline uses what can be done with a stored object.
func TestDynamicClient(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	ctx, client := t.Context(), newClient(t, w.url, nil).Resource(secrets).Namespace("dev")
	secret := func(name, value string) *unstructured.Unstructured {
		return &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "v1", "kind": "Secret", "metadata": map[string]any{"name": name, "labels": map[string]any{"for": name}},
			"stringData": map[string]any{"value": value},
		}}
	}
	created, err := client.Create(ctx, secret("a", "one"), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Create(ctx, secret("a", "two"), metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("creating it again: %v, want AlreadyExists", err)
	}
	if _, err := client.Create(ctx, secret("b", "two"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Patch(ctx, "a", types.MergePatchType, []byte(`{"data":{"more":"eA=="}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := client.Update(ctx, created, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("updating what was read before the patch: %v, want Conflict", err)
	}
	got, err := client.Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if data := fmt.Sprint(got.Object["data"]); data != "map[more:eA== value:b25l]" {
		t.Errorf("data is %s", data)
	}
	for _, options := range []metav1.ListOptions{{FieldSelector: "metadata.name=b"}, {LabelSelector: "for=b"}} {
		list, err := client.List(ctx, options)
		if err != nil || len(list.Items) != 1 || list.Items[0].GetName() != "b" {
			t.Errorf("listing %v: %v, %v; want b", options, list, err)
		}
	}
	if err := client.Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
		t.Error(err)
	}
	if _, err := client.Get(ctx, "a", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("reading what was deleted: %v, want NotFound", err)
	}
}

// TestDiscovery asks what is there, as client-go's discovery does without aggregation.
func TestDiscovery(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	read := func(path string, into any) {
		t.Helper()
		status, body := send(t, "GET", w.url+path, "", "", "")
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(body.(map[string]any), into); err != nil || status != 200 {
			t.Fatalf("%s: %d, %v", path, status, err)
		}
	}
	var groups metav1.APIGroupList
	read("/apis", &groups)
	found := map[string]bool{}
	add := func(path string) {
		var list metav1.APIResourceList
		read(path, &list)
		for _, one := range list.APIResources {
			found[list.GroupVersion+"/"+one.Name] = true
		}
	}
	add("/api/v1")
	for _, group := range groups.Groups {
		add("/apis/" + group.PreferredVersion.GroupVersion)
	}
	for _, want := range []string{"v1/pods", "apps/v1/deployments", "batch/v1/cronjobs", "route.openshift.io/v1/routes",
		"image.openshift.io/v1/imagestreamtags", "apps.openshift.io/v1/deploymentconfigs"} {
		if !found[want] {
			t.Errorf("%s is missing", want)
		}
	}
	for _, path := range []string{"/apis/no.such.group/v1", "/apis/apps/v1/nothing", "/else"} {
		if status, _ := send(t, "GET", w.url+path, "", "", ""); status != 404 {
			t.Errorf("%s is answered %d, want 404", path, status)
		}
	}
}

// TestWatch watches one of two streams, loses the watch, and goes on where it was.
func TestWatch(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	client := newClient(t, w.url, nil).Resource(streams).Namespace("dev")
	make := func(name string) {
		if _, err := w.Create("imagestreams", map[string]any{"metadata": map[string]any{"name": name, "namespace": "dev"}}); err != nil {
			t.Fatal(err)
		}
	}
	make("hello")
	list, err := client.List(t.Context(), listAll)
	if err != nil {
		t.Fatal(err)
	}
	open := func(version string) watch.Interface {
		opened, err := client.Watch(t.Context(), metav1.ListOptions{
			ResourceVersion: version, FieldSelector: "metadata.name=hello",
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(opened.Stop)
		return opened
	}
	next := func(from watch.Interface) (watch.Event, bool) {
		select {
		case event, ok := <-from.ResultChan():
			return event, ok
		case <-time.After(10 * time.Second):
			t.Fatal("no event for 10 s")
			return watch.Event{}, false
		}
	}
	first := open(list.GetResourceVersion())
	make("other") // not ours
	w.tag("1.0")
	version := ""
	for {
		event, ok := next(first)
		object, _ := event.Object.(*unstructured.Unstructured)
		if !ok || event.Type != watch.Modified || object.GetName() != "hello" {
			t.Fatalf("the watch sent %v %v", event.Type, event.Object)
		}
		version = object.GetResourceVersion()
		if settled(plain(t, object.Object)) {
			break
		}
	}
	w.CutWatches()
	if event, ok := next(first); ok {
		t.Errorf("a watch that was cut sent %v", event)
	}
	if err := w.Delete("imagestreams", "dev", "hello"); err != nil {
		t.Fatal(err)
	}
	if event, _ := next(open(version)); event.Type != watch.Deleted {
		t.Errorf("after it was lost the watch sent %v, want what happened meanwhile: DELETED", event.Type)
	}
	event, _ := next(open("1"))
	if err := apierrors.FromObject(event.Object); event.Type != watch.Error || !apierrors.IsResourceExpired(err) {
		t.Errorf("from a version too old the watch sent %v %v", event.Type, err)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	url := w.url + "/apis/image.openshift.io/v1/namespaces/dev/imagestreams"
	statuses := func(n int) (got []int) {
		for range n {
			status, _ := send(t, "GET", url, "", "", "")
			got = append(got, status)
		}
		return got
	}
	for _, code := range []int{409, 429, 500, 503} {
		w.SetFaults(imageapi.Faults{Request: imageapi.Times(2, "GET", "/apis/image", code)})
		if got := statuses(3); fmt.Sprint(got) != fmt.Sprint([]int{code, code, 200}) {
			t.Errorf("the requests were answered %v, want %d twice, then 200", got, code)
		}
	}
	w.SetFaults(imageapi.Faults{Request: imageapi.Times(1, "GET", "/apis/image", imageapi.AbortConnection)})
	request, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	request.Header.Set("Authorization", "Bearer admin")
	transport := &http.Transport{DisableKeepAlives: true} // else the client repeats the request by itself
	if response, err := (&http.Client{Transport: transport}).Do(request); !errors.Is(err, io.EOF) {
		t.Errorf("a connection that breaks gave %v, %v", response, err)
	}

	altered := "sha256:" + strings.Repeat("ab", 32)
	w.SetFaults(imageapi.Faults{Import: func(string) (string, error) { return altered, nil }})
	w.write("1.0", `"insecure":true`)
	w.until("the tag is at the altered digest", func() bool { return w.head() == altered })
	w.SetFaults(imageapi.Faults{Import: func(string) (string, error) { return "", errors.New("disk full") }})
	w.write("1.1", `"insecure":true`)
	w.until("the import has failed by the fault", func() bool {
		conditions := list(w.object("imagestreams", "hello"), "status", "tags", "conditions")
		return len(conditions) == 1 && strings.HasSuffix(fmt.Sprint(conditions[0]["message"]), "disk full")
	})
	w.SetFaults(imageapi.Faults{
		Trigger: func(_, kind, name string) bool { return kind == "Deployment" && name == "web" },
		Watch:   func(*http.Request) int { return 0 },
	})
	for _, name := range []string{"web", "web2"} {
		if _, err := w.Create("deployments", imageapi.Deployment("dev", name, "hello:dev")); err != nil {
			t.Fatal(err)
		}
	}
	w.until("the trigger that is not kept back fires", func() bool { return w.template("web2") != " " })
	if got := w.template("web"); got != " " {
		t.Errorf("the trigger that is kept back wrote %q", got)
	}
	opened, err := newClient(t, w.url, nil).Resource(streams).Namespace("dev").Watch(t.Context(), listAll)
	if err != nil {
		t.Fatal(err)
	}
	if event, ok := <-opened.ResultChan(); ok {
		t.Errorf("a watch that breaks off before the first event sent %v", event)
	}
}
