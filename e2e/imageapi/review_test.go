package imageapi_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"dockline/e2e/imageapi"
)

// TestReviews asks for rights, and compares each answer with what the API then does.
func TestReviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{Users: []imageapi.User{{Token: "anna", Name: "anna", Rules: []imageapi.Rule{
		{Namespaces: []string{"dev"}, Resources: []string{"secrets"}, Verbs: []string{"get", "list"}},
		{Namespaces: []string{"dev"}, Resources: []string{"services"}, Verbs: []string{"get"}, Names: []string{"web"}},
	}}}})
	do := func(method, path, token, body string) (int, map[string]any) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), method, w.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		var fields map[string]any
		_ = json.Unmarshal(text, &fields)
		return answer.StatusCode, fields
	}
	const access = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
	for _, row := range []struct {
		token, asked string // resourceAttributes
		method, path string // the request that uses the right
		allowed      bool
	}{
		{"anna", `"verb":"list","resource":"secrets","namespace":"dev"`, "GET", "/api/v1/namespaces/dev/secrets", true},
		{"anna", `"verb":"watch","resource":"secrets","namespace":"dev"`, "GET", "/api/v1/namespaces/dev/secrets?watch=1", false},
		{"anna", `"verb":"list","resource":"secrets","namespace":"prod"`, "GET", "/api/v1/namespaces/prod/secrets", false},
		{"anna", `"verb":"list","resource":"secrets"`, "GET", "/api/v1/secrets", false},
		{"anna", `"verb":"get","resource":"services","namespace":"dev","name":"web"`, "GET", "/api/v1/namespaces/dev/services/web", true},
		{"anna", `"verb":"get","resource":"services","namespace":"dev","name":"db"`, "GET", "/api/v1/namespaces/dev/services/db", false},
		{"anna", `"verb":"list","group":"other.io","resource":"secrets","namespace":"dev"`, "", "", false},
		{"admin", `"verb":"list","group":"other.io","resource":"secrets","namespace":"dev"`, "", "", true},
		{"admin", `"verb":"delete","group":"apps","resource":"deployments","namespace":"dev","name":"x"`, "DELETE",
			"/apis/apps/v1/namespaces/dev/deployments/x", true},
	} {
		code, fields := do("POST", access, row.token, `{"kind":"SelfSubjectAccessReview","spec":{"resourceAttributes":{`+row.asked+`}}}`)
		status, _ := fields["status"].(map[string]any)
		if code != http.StatusCreated || status["allowed"] != row.allowed {
			t.Errorf("%s, %s: %d %v, want %t", row.token, row.asked, code, fields, row.allowed)
		}
		if row.method == "" || strings.Contains(row.path, "watch") && row.allowed {
			continue
		}
		if code, fields := do(row.method, row.path, row.token, ""); (code == http.StatusForbidden) == row.allowed {
			t.Errorf("%s %s: %d %v, and the review said %t", row.method, row.path, code, fields, row.allowed)
		}
	}
	for body, want := range map[string]int{
		`{}`: 422, `{"spec":{"resourceAttributes":{},"nonResourceAttributes":{}}}`: 422, `{"spec":{"nonResourceAttributes":{"path":"/x"}}}`: 201,
		`{"kind":"Secret"}`: 400, `x`: 400,
	} {
		if code, fields := do("POST", access, "anna", body); code != want {
			t.Errorf("%s: %d %v, want %d", body, code, fields, want)
		}
	}
	if code, _ := do("GET", access, "admin", ""); code != http.StatusMethodNotAllowed {
		t.Errorf("listing reviews: %d", code)
	}
	if code, _ := do("POST", access, "nobody", `{}`); code != http.StatusUnauthorized {
		t.Errorf("a review by nobody: %d", code)
	}
	_, fields := do("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", "anna", `{}`)
	status, _ := fields["status"].(map[string]any)
	if user, _ := status["userInfo"].(map[string]any); user["username"] != "anna" {
		t.Errorf("the user is %v", fields)
	}
}
