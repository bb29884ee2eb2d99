package imageapi_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"dockline/e2e/imageapi"
)

// TestApply holds server-side apply to what Kubernetes documents of it: fields have owners, an owner's value is changed
// by force only, and a field that its one owner leaves out is removed.
func TestApply(t *testing.T) {
	t.Parallel()
	api := imageapi.New(imageapi.Options{
		Namespaces: []string{"dev"}, Users: []imageapi.User{{Name: "owner", Token: "owner", Rules: imageapi.Admin}},
	})
	server := httptest.NewServer(api)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); api.Close() })
	deployment := func(fields string, containers ...string) string {
		var list []string
		for _, container := range containers {
			name, image, set := strings.Cut(container, "=")
			entry := fmt.Sprintf(`{"name":%q}`, name)
			if set {
				entry = fmt.Sprintf(`{"name":%q,"image":%q}`, name, image)
			}
			list = append(list, entry)
		}
		return fmt.Sprintf(`{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web"%s},"spec":{"template":{"spec":{"containers":[%s]}}}}`,
			fields, strings.Join(list, ","))
	}
	ask := func(method, path, kind, body string) (int, map[string]any) {
		request, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/apis/apps/v1/namespaces/dev/"+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer owner")
		request.Header.Set("Content-Type", kind)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		var object map[string]any
		if err := json.NewDecoder(answer.Body).Decode(&object); err != nil {
			t.Fatal(err)
		}
		return answer.StatusCode, object
	}
	const apply, merge = "application/apply-patch+yaml", "application/merge-patch+json"
	if code, answer := ask("POST", "deployments?fieldManager=kubectl-create", "application/json", deployment("", "app=a:1", "log=l:1")); code != 201 {
		t.Fatalf("%d %v", code, answer)
	}
	for _, row := range []struct {
		name, method, query, kind, body string
		code                            int
		says                            string // in the answer
	}{
		{"without a manager", "PATCH", "", apply, deployment("", "app=a:2"), 400, "fieldManager"},
		{"what another one has set", "PATCH", "?fieldManager=one", apply, deployment("", "app=a:2"), 409,
			`"message":"conflict with \"kubectl-create\" using apps/v1`},
		{"the same value is shared", "PATCH", "?fieldManager=one", apply, deployment("", "app=a:1"), 200, `"image":"a:1"`},
		{"by force, and not stored", "PATCH", "?fieldManager=one&force=true&dryRun=All", apply, deployment("", "app=a:2"), 200, `"image":"a:2"`},
		{"which is still a conflict", "PATCH", "?fieldManager=one", apply, deployment("", "app=a:2"), 409, `kubectl-create`},
		{"by force", "PATCH", "?fieldManager=one&force=true", apply, deployment("", "app=a:2"), 200, `"image":"a:2"`},
		{"the other container is still there", "PATCH", "?fieldManager=one", apply, deployment("", "app=a:3"), 200, `"image":"l:1"`},
		{"another manager's apply", "PATCH", "?fieldManager=two", apply, deployment("", "app=a:4"), 409,
			`"field":".spec.template.spec.containers[name=\"app\"].image"`},
		{"its one owner leaves the image out", "PATCH", "?fieldManager=one", apply, deployment("", "app"), 422,
			`spec.template.spec.containers[0].image: Required value`},
		{"a stale version", "PATCH", "?fieldManager=one", apply, deployment(`,"resourceVersion":"7"`, "app=a:5"), 409, "the object has been modified"},
		{"an update takes over", "PATCH", "?fieldManager=kubectl-edit", merge, deployment("", "app=a:6", "log=l:1"), 200, `"image":"a:6"`},
		{"and is a conflict from then on", "PATCH", "?fieldManager=one", apply, deployment("", "app=a:7"), 409, `conflict with \"kubectl-edit\"`},
	} {
		code, answer := ask(row.method, "deployments/web"+row.query, row.kind, row.body)
		var text bytes.Buffer
		encoder := json.NewEncoder(&text)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(answer); err != nil {
			t.Fatal(err)
		}
		if code != row.code || !strings.Contains(text.String(), row.says) {
			t.Errorf("%s: %d (want %d); the answer must hold %s:\n%s", row.name, code, row.code, row.says, text.String())
		}
	}
	if code, _ := ask("PATCH", "deployments/other?fieldManager=one", apply, strings.ReplaceAll(deployment("", "app=a:1"), `"web"`, `"other"`)); code != 404 {
		t.Errorf("apply makes nothing here: %d", code)
	}
}
