package verify_test

import (
	"bytes"
	"context"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"dockline/e2e/imageapi"
	"dockline/pkg/step"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

// deployer has the rights that retag and verify need, and no others.
var deployer = imageapi.User{Name: "system:serviceaccount:dev:deployer", Token: "good", Rules: []imageapi.Rule{
	{Resources: []string{"imagestreams"}, Verbs: []string{"get", "watch"}},
	{Resources: []string{"imagestreamtags"}, Verbs: []string{"create", "update"}},
	{Resources: []string{"imagestreamimports"}, Verbs: []string{"create"}},
	{Resources: []string{"imagestreamimages"}, Verbs: []string{"get"}},
	{Resources: []string{"deployments"}, Verbs: []string{"list", "get", "create"}},
	{Resources: []string{"deploymentconfigs", "statefulsets", "daemonsets", "cronjobs", "pods"}, Verbs: []string{"list"}},
	{Resources: []string{"services", "routes"}, Verbs: []string{"get", "create"}},
}}

// TestTagsAgainstTheImageAPI tags a first version, the next one, goes back, patches, and judges each time, against the
// API that answers as a recorded cluster does.
func TestTagsAgainstTheImageAPI(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	api := imageapi.New(imageapi.Options{
		Namespaces: []string{"dev"}, Users: []imageapi.User{deployer},
		ImportDelay: 50 * time.Millisecond, TriggerDelay: 50 * time.Millisecond,
	})
	server := httptest.NewServer(api)
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); api.Close() })
	run := func(program step.Program, settings ...string) (status int, current, log string) {
		dir := t.TempDir()
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		status = step.Run(ctx, program, nil, append([]string{
			"KUBE_SERVER=" + server.URL, "KUBE_TOKEN=good", "NAMESPACE=dev", "STREAM_TAG=hello-app:dev", "TIMEOUT=20s",
			"REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true", "RESULTS_DIR=" + dir,
		}, settings...), &out, &out)
		value, _ := os.ReadFile(filepath.Join(dir, "CURRENT_DIGEST"))
		return status, string(value), out.String()
	}
	patched := ""
	for _, row := range []struct {
		name    string
		program func() step.Program
		with    []string
		status  int
		current *string
	}{
		{"first deployment", retag.Program, []string{"IMAGE=deepsky/hello:1.0"}, 0, &w.d10},
		{"is right", verify.Program, []string{"EXPECT_IMAGE=deepsky/hello:1.0", "EXPECT_RETAGGED=true"}, 0, &w.d10},
		{"is not 1.1 yet", verify.Program, []string{"EXPECT_DIGEST=" + w.d11, "TIMEOUT=1s"}, 7, nil},
		{"next version", retag.Program, []string{"IMAGE=deepsky/hello:1.1", "DIGEST=" + w.d11, "EXPECT_CURRENT=" + w.d10}, 0, &w.d11},
		{"the next is right", verify.Program, []string{"EXPECT_IMAGE=deepsky/hello:1.1"}, 0, &w.d11},
		{"back", retag.Program, []string{"ROLLBACK=true"}, 0, &w.d10},
		{"retag went back", verify.Program, []string{"EXPECT_DIGEST=" + w.d10, "EXPECT_RETAGGED=true"}, 0, &w.d10},
		{"compared with itself", verify.Program, []string{"COMPARE_WITH=dev/hello-app:dev", "EXPECT_COMPARED=same"}, 0, &w.d10},
		{"back again goes no further", retag.Program, []string{"ROLLBACK=true"}, 0, &w.d10},
		{"a version that is missing", retag.Program, []string{"IMAGE=deepsky/hello:9.9", "DIGEST=" + w.d10}, 4, nil},
		{"forward", retag.Program, []string{"IMAGE=deepsky/hello:1.1"}, 0, &w.d11},
		{"a patch under the same version", retag.Program, []string{"IMAGE=deepsky/hello:1.1"}, 0, &patched},
		{"the patch is right", verify.Program, []string{"EXPECT_IMAGE=deepsky/hello:1.1"}, 0, &patched},
	} {
		if row.current == &patched && patched == "" {
			patched = w.push(t, "1.1")
		}
		status, current, log := run(row.program(), row.with...)
		if status != row.status || row.current != nil && current != *row.current {
			t.Fatalf("%s: exit status %d (want %d), CURRENT_DIGEST %q\n%s", row.name, status, row.status, current, log)
		}
	}
}
