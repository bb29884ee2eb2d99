package main

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	"github.com/tektoncd/triggers/pkg/interceptors/cel"
	"github.com/tektoncd/triggers/pkg/interceptors/gitlab"
	"github.com/tektoncd/triggers/pkg/template"
)

const (
	commit = "da1560886d4f094c3e6c9ef40349f7d38b5d27d7"
	zeros  = "0000000000000000000000000000000000000000"
)

// gitlabEvent is what GitLab sends for a tag that is pushed or deleted: docs.gitlab.com, "Webhook events", "Tag events".
func gitlabEvent(changes map[string]any) map[string]any {
	event := map[string]any{
		"object_kind": "tag_push", "event_name": "tag_push", "before": zeros, "after": "9f8f7f6f5f4f3f2f1f0f9e8e7e6e5e4e3e2e1e0e",
		"ref": "refs/tags/v1.2.0", "checkout_sha": commit, "message": "a release", "user_name": "Jane",
		"project": map[string]any{
			"name": "awl-deepsky-hello", "path_with_namespace": "deepsky/awl-deepsky-hello",
			"git_http_url": "https://evil.example.com/deepsky/awl-deepsky-hello.git",
		},
	}
	for key, value := range changes {
		event[key] = value
	}
	return event
}

// TestTags sends events through Tekton's own interceptors, bindings and template.
func TestTags(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name    string
		changes map[string]any
		header  map[string][]string
		want    string // the tag that is built; none when nothing is
	}{
		{name: "a version", want: "v1.2.0"},
		{name: "a version without v", changes: map[string]any{"ref": "refs/tags/1.0"}, want: "1.0"},
		{name: "a candidate", changes: map[string]any{"ref": "refs/tags/v2.0.0-rc.1"}, want: "v2.0.0-rc.1"},
		{name: "a tag that is moved", changes: map[string]any{"before": commit}, want: "v1.2.0"},
		{name: "a tag that is deleted", changes: map[string]any{"checkout_sha": nil, "after": zeros, "before": commit}},
		{name: "no checkout_sha", changes: map[string]any{"checkout_sha": nil}},
		{name: "zeros after", changes: map[string]any{"after": zeros}},
		{name: "a tag that is no version", changes: map[string]any{"ref": "refs/tags/nightly"}},
		{name: "a tag with a slash", changes: map[string]any{"ref": "refs/tags/v1.2/x"}},
		{name: "a tag in two lines", changes: map[string]any{"ref": "refs/tags/v1.2\nx"}},
		{name: "a tag with a command", changes: map[string]any{"ref": "refs/tags/v1.2$(id)"}},
		{name: "a tag that breaks out of JSON", changes: map[string]any{"ref": `refs/tags/v1.2","x":"`}},
		{name: "a branch", changes: map[string]any{"ref": "refs/heads/v1.2.0"}},
		{name: "a commit that is none", changes: map[string]any{"checkout_sha": "refs/heads/main"}},
		{name: "another project", changes: map[string]any{"project": map[string]any{"path_with_namespace": "deepsky/other"}}},
		{name: "another event", header: map[string][]string{"X-Gitlab-Event": {"Push Hook"}}},
		{name: "a wrong token", header: map[string][]string{"X-Gitlab-Token": {"wrong"}}},
		{name: "no token", header: map[string][]string{"X-Gitlab-Token": nil}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			runs := fire(t, gitlabEvent(row.changes), row.header)
			if row.want == "" {
				if len(runs) != 0 {
					t.Errorf("it starts a run: %s", runs)
				}
				return
			}
			if len(runs) != 1 {
				t.Fatalf("it starts %d runs", len(runs))
			}
			var run pipeline.PipelineRun
			if err := json.Unmarshal(runs[0], &run); err != nil {
				t.Fatal(err)
			}
			for _, finding := range validate(t.Context(), object{Kind: "PipelineRun", value: &run}) {
				t.Error(finding)
			}
			got := map[string]string{}
			for _, param := range run.Spec.Params {
				got[param.Name] = param.Value.StringVal
			}
			for name, want := range map[string]string{
				"git-tag": row.want, "git-revision": commit, "image": "deepsky/awl-deepsky-hello",
				"git-url": "https://gitlab.example.com/deepsky/awl-deepsky-hello.git", // not the request's
			} {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
			if strings.Contains(string(runs[0]), "evil") {
				t.Errorf("the request chose where to go: %s", runs[0])
			}
		})
	}
}

// secrets is the namespace's Secret gitlab-webhook.
type secrets struct{}

func (secrets) Get(_ context.Context, namespace string, ref *triggers.SecretRef) ([]byte, error) {
	if namespace != "dockline-build" || ref.SecretName != "gitlab-webhook" || ref.SecretKey != "token" {
		return nil, errors.New("there is no such secret")
	}
	return []byte("right"), nil
}

// fire has the shipped Trigger see an event, and returns the runs that it makes.
func fire(t *testing.T, event map[string]any, changes map[string][]string) []json.RawMessage {
	t.Helper()
	objects, found := read(shipped)
	found = append(found, validateAll(t.Context(), objects)...)
	if len(found) != 0 {
		t.Fatal(found)
	}
	var trigger *triggers.Trigger
	bindings := map[string]*triggers.TriggerBinding{}
	templates := map[string]*triggers.TriggerTemplate{}
	for _, o := range objects {
		switch value := o.value.(type) {
		case *triggers.Trigger:
			trigger = value
		case *triggers.TriggerBinding:
			bindings[value.Name] = value
		case *triggers.TriggerTemplate:
			templates[value.Name] = value
		}
	}
	body, err := json.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	header := map[string][]string{"X-Gitlab-Event": {"Tag Push Hook"}, "X-Gitlab-Token": {"right"}}
	for name, value := range changes {
		header[name] = value
	}

	extensions := map[string]any{}
	for _, interceptor := range trigger.Spec.Interceptors {
		request := &triggers.InterceptorRequest{
			Body: string(body), Header: header, Extensions: extensions, InterceptorParams: map[string]any{},
			Context: &triggers.TriggerContext{TriggerID: "namespaces/" + trigger.Namespace + "/triggers/" + trigger.Name},
		}
		for _, param := range interceptor.Params {
			request.InterceptorParams[param.Name] = param.Value
		}
		process := map[string]triggers.InterceptorInterface{
			"gitlab": gitlab.NewInterceptor(secrets{}), "cel": cel.NewInterceptor(secrets{}),
		}[interceptor.Ref.Name]
		response := process.Process(t.Context(), request)
		if !response.Continue {
			t.Logf("%s: %s", interceptor.GetName(), response.Status.Message)
			return nil
		}
		for key, value := range response.Extensions {
			extensions[key] = value
		}
	}
	resolved, err := template.ResolveTrigger(*trigger,
		func(name string) (*triggers.TriggerBinding, error) { return bindings[name], nil },
		func(string) (*triggers.ClusterTriggerBinding, error) { return nil, errors.New("there is none") },
		func(name string) (*triggers.TriggerTemplate, error) { return templates[name], nil })
	if err != nil {
		t.Fatal(err)
	}
	params, err := template.ResolveParams(resolved, body, header, extensions, template.NewTriggerContext("id"))
	if err != nil {
		t.Fatal(err)
	}
	return template.ResolveResources(resolved.TriggerTemplate, params)
}
