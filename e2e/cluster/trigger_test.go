//go:build e2e

package cluster_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"dockline/e2e/story"
)

// overlayTrigger writes the reader's patches of what a Git tag starts: this world's addresses, and what its service's
// Dockerfile needs.
func (r *reader) overlayTrigger() {
	r.t.Helper()
	r.write("tekton/hello-app.yaml", fmt.Sprintf(`apiVersion: triggers.tekton.dev/v1beta1
kind: Trigger
metadata: {name: hello-app}
spec:
  bindings:
    - ref: gitlab-tag
    - {name: git-url, value: %q}
    - {name: image, value: %q}
    - {name: registry, value: %q}
    - {name: stream-tag, value: "hello-app:dev"}
    - {name: ca-file, value: %q}
`, r.world.Git().URL, story.ImageName, r.world.Testing.Host, caFile))
	var patch strings.Builder
	for _, param := range [][2]string{
		{"context-dir", "hello_v1.0"}, {"build-args", "BASE=" + r.world.Testing.Host + "/" + story.BaseName},
		{"kube-server", r.world.Dev.API}, {"kube-ca-file", caFile},
	} {
		fmt.Fprintf(&patch, "- {op: add, path: /spec/resourcetemplates/0/spec/params/-, value: {name: %s, value: %q}}\n", param[0], param[1])
	}
	r.write("tekton/build-to-dev.yaml", patch.String())
}

// sendTag sends what GitLab sends for a tag that is pushed to a commit, or deleted where there is none.
func (r *reader) sendTag(ref, commit string) {
	r.t.Helper()
	const none = "0000000000000000000000000000000000000000"
	event := map[string]any{
		"object_kind": "tag_push", "event_name": "tag_push", "before": none, "after": commit, "ref": ref, "checkout_sha": commit,
		"project": map[string]any{"path_with_namespace": "deepsky/awl-deepsky-hello"},
	}
	if commit == "" {
		event["before"], event["after"], event["checkout_sha"] = "9f8f7f6f5f4f3f2f1f0f9e8e7e6e5e4e3e2e1e0e", none, nil
	}
	body, err := json.Marshal(event)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := r.cluster.Kubectl(r.t.Context(), "--namespace=dockline-build", "wait", "--for=condition=Available",
		"--timeout=60s", "deployment/el-gitlab"); err != nil {
		r.explain()
		r.t.Fatal(err)
	}
	// Nothing forwards a Service's address here; its pod is on the network of the node.
	port, err := r.cluster.Kubectl(r.t.Context(), "--namespace=dockline-build", "get", "deployment", "el-gitlab",
		"--output=jsonpath={.spec.template.spec.containers[0].ports[0].containerPort}")
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodPost, "http://127.0.0.1:"+port+"/", bytes.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Gitlab-Event", "Tag Push Hook")
	request.Header.Set("X-Gitlab-Token", strings.TrimSpace(webhookToken))
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.explain()
		r.t.Fatal(err)
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || answer.StatusCode != http.StatusAccepted {
		r.t.Fatalf("the listener answers %s, %v: %s", answer.Status, err, text)
	}
}

// triggered waits for the one run that the events have started.
func (r *reader) triggered() {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute)
	defer cancel()
	which := []string{"--namespace=dockline-build", "--selector=triggers.tekton.dev/trigger=hello-app"}
	if _, err := r.cluster.Kubectl(ctx, append(which, "wait", "--for=create", "--timeout=60s", "pipelinerun")...); err != nil {
		r.explain()
		r.t.Fatal(err)
	}
	if _, err := r.cluster.Kubectl(ctx, append(which, "wait", "--for=condition=Succeeded", "--timeout=4m", "pipelinerun")...); err != nil {
		r.explain()
		r.t.Fatal(err)
	}
	if names, err := r.cluster.Kubectl(ctx, append(which, "get", "pipelinerun", "--output=name")...); err != nil || strings.Count(names, "\n") != 1 {
		r.t.Errorf("the runs are %q, %v; it should be one", names, err)
	}
}
