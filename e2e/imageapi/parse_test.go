package imageapi

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
)

func TestParseRequest(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, method, path string
		want                      string // VERB PLURAL NAMESPACE NAME SUBRESOURCE, or empty for an error
	}{
		{"one object", "GET", "/apis/apps/v1/namespaces/dev/deployments/web", "get deployments dev web "},
		{"all of a namespace", "GET", "/api/v1/namespaces/dev/pods", "list pods dev  "},
		{"all of all", "GET", "/api/v1/pods", "list pods   "},
		{"a watch", "GET", "/api/v1/namespaces/dev/pods?watch=true", "watch pods dev  "},
		{"a namespace", "GET", "/api/v1/namespaces/dev", "get namespaces  dev "},
		{"a name with a colon", "PUT", "/apis/image.openshift.io/v1/namespaces/dev/imagestreamtags/a:b",
			"update imagestreamtags dev a:b "},
		{"a status", "PATCH", "/apis/apps/v1/namespaces/dev/deployments/web/status", "patch deployments dev web status"},
		{"a status of what has none", "PATCH", "/api/v1/namespaces/dev/secrets/a/status", ""},
		{"another version", "GET", "/apis/apps/v1beta1/namespaces/dev/deployments", ""},
		{"a cluster's object in a namespace", "GET", "/apis/image.openshift.io/v1/namespaces/dev/images", ""},
		{"creating by a name", "POST", "/api/v1/namespaces/dev/secrets/a", ""},
		{"nothing", "GET", "/", ""},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			q, err := parseRequest(httptest.NewRequest(test.method, test.path, nil))
			got := q.verb + " " + q.resource.plural + " " + q.namespace + " " + q.name + " " + q.subresource
			if err != nil {
				got = ""
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// FuzzServeHTTP sends paths and bodies of any kind: every answer is one, and none is a crash.
func FuzzServeHTTP(f *testing.F) {
	f.Add("PUT", "apis/image.openshift.io/v1/namespaces/dev/imagestreamtags/a:b", `{"metadata":{"name":"a:b"},"tag":{}}`)
	f.Add("POST", "apis/image.openshift.io/v1/namespaces/dev/imagestreams", `{"metadata":{"name":"a"},"spec":{"tags":[{"name":"b"}]}}`)
	f.Add("POST", "apis/apps/v1/namespaces/dev/deployments", `{"metadata":{"name":"a"},"spec":{"template":7,"strategy":[]}}`)
	f.Add("POST", "api/v1/namespaces/dev/secrets", `{"metadata":{"name":"a"},"data":1,"stringData":{"a":2}}`)
	f.Add("PATCH", "api/v1/namespaces/dev", `{"metadata":null}`)
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if method == "" || len(path) > 200 {
			return
		}
		// Nothing is to be read from a registry: the import's delay is longer than the test.
		server := New(Options{Namespaces: []string{"dev"}, Users: []User{{Token: "a", Name: "a", Rules: Admin}}, ImportDelay: 1 << 40,
			Faults: Faults{Import: func(string) (string, error) { return "", errModified }}})
		defer server.Close()
		request, err := http.NewRequest(method, "http://x/", strings.NewReader(body))
		if err != nil {
			return
		}
		request.URL.Path = "/" + path
		request.Header.Set("Authorization", "Bearer a")
		request.Header.Set("Content-Type", "application/merge-patch+json")
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, request)
		if answer.Code < 200 || answer.Code > 599 {
			t.Errorf("answered %d", answer.Code)
		}
	})
}

func FuzzFieldPath(f *testing.F) {
	f.Add(`spec.template.spec.containers[?(@.name=="a")].image`)
	f.Add(`spec.jobTemplate.spec.template.spec.initContainers[0].image`)
	f.Add(`spec.template.spec.containers[99999999999999999999].image`)
	object := map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "a"}, 7},
	}}}}
	f.Fuzz(func(t *testing.T, path string) {
		if found := containerAt(object, path); found != nil && found["name"] != "a" {
			t.Errorf("%q leads to %v", path, found)
		}
	})
}

func TestCovers(t *testing.T) {
	t.Parallel()
	repository, err := name.NewRepository("registry.test:5000/deepsky/hello")
	if err != nil {
		t.Fatal(err)
	}
	for entry, want := range map[string]bool{
		"registry.test:5000": true, "https://registry.test:5000/": true, "registry.test:5000/v2/": true,
		"registry.test:5000/deepsky": true, "registry.test:5000/deep": false, "registry.test": false,
		"registry.test:5000/deepsky/hello": true, "other.test": false,
	} {
		if got := covers(entry, repository); got != want {
			t.Errorf("%q covers %s: %v, want %v", entry, repository, got, want)
		}
	}
}
