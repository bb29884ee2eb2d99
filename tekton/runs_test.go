package tekton

import (
	"bytes"
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"dockline/pkg/step"
)

const digest = "sha256:2f1c8a1ba4b2a1f3e6f4c1d0f5b6a7c8d9e0f1a2b3c4d5e6f7a8b9c0d1e2f3a4"

// values are what a run is given: a PipelineRun's parameters, a Secret's keys, the results of the tasks before.
type values map[string]string

type named struct{ Name, Value string }

type run struct {
	Spec struct {
		PipelineRef struct{ Name string }
		Params      []named
	}
}

type pipeline struct {
	Spec struct {
		Params []param
		Tasks  []struct {
			Name    string
			TaskRef struct{ Name string }
			Params  []named
		}
	}
}

// TestRunsConfigureTheSteps follows each example, and the triggered run, to the environment of every container, and asks
// the steps themselves whether they can work with it.
func TestRunsConfigureTheSteps(t *testing.T) {
	t.Parallel()
	asked := 0
	for name, r := range runs(t) {
		for container, environment := range containers(t, r) {
			asked++
			if status, output := ask(t, container, environment); status != 0 {
				t.Errorf("%s, %s: exit status %d\n%s", name, container, status, output)
			}
		}
	}
	if asked != 5+5+3+2 {
		t.Errorf("%d containers were asked", asked)
	}
}

// TestAnEmptyValueIsRefused: what a person or an event must bring, and does not, ends the first step with exit status 2.
func TestAnEmptyValueIsRefused(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ run, param, container, named string }{
		{"promote-to-prod", "digest", "promote/promote", "DIGEST is empty"},
		{"promote-to-prod", "image", "promote/promote", "IMAGE is"},
		{"triggered", "git-revision", "clone-build-push/clone", "GIT_REVISION is empty"},
		{"rollback", "stream-tag", "retag/retag", "STREAM_TAG is missing"},
	} {
		r := runs(t)[row.run]
		for i := range r.Spec.Params {
			if r.Spec.Params[i].Name == row.param {
				r.Spec.Params[i].Value = ""
			}
		}
		status, output := ask(t, row.container, containers(t, r)[row.container])
		if status != 2 || !strings.Contains(output, row.named) {
			t.Errorf("%s without %s: exit status %d\n%s", row.run, row.param, status, output)
		}
	}
}

// runs returns the examples, and the run that the trigger makes.
func runs(t *testing.T) map[string]run {
	t.Helper()
	found := map[string]run{}
	for _, o := range objects(t) {
		switch o.Kind {
		case "PipelineRun":
			var r run
			if err := yaml.Unmarshal(bytes.ReplaceAll(o.text, []byte("sha256:DIGEST"), []byte(digest)), &r); err != nil {
				t.Fatal(err)
			}
			found[strings.TrimSuffix(filepath.Base(o.path), ".yaml")] = r
		case "TriggerTemplate":
			var template struct {
				Spec struct{ ResourceTemplates []run }
			}
			if err := yaml.Unmarshal(o.text, &template); err != nil {
				t.Fatal(err)
			}
			r := template.Spec.ResourceTemplates[0]
			event := values{
				"tt.params.git-revision": "da1560886d4f094c3e6c9ef40349f7d38b5d27d7", "tt.params.git-tag": "v1.2.0",
				"tt.params.git-url": "https://gitlab.example.com/deepsky/hello.git", "tt.params.image": "deepsky/hello",
				"tt.params.registry": "registry-testing.example.com", "tt.params.stream-tag": "hello-app:dev", "tt.params.ca-file": "",
			}
			for i := range r.Spec.Params {
				r.Spec.Params[i].Value = event.in(t, r.Spec.Params[i].Value)
			}
			found["triggered"] = r
		}
	}
	return found
}

// containers returns the environment of every container of a run, by TASK/STEP.
func containers(t *testing.T, r run) map[string]values {
	t.Helper()
	given := values{
		"tasks.build.results.BUILT_IMAGE": "deepsky/hello:1.0", "tasks.build.results.IMAGE_DIGEST": digest,
		"tasks.promote.results.PROMOTED_IMAGE": "deepsky/hello:1.0", "tasks.promote.results.DESTINATION_DIGEST": digest,
		"tasks.retag.results.CURRENT_DIGEST": digest,
	}
	var p pipeline
	for _, o := range objects(t) {
		if o.Kind == "Pipeline" && o.Metadata.Name == r.Spec.PipelineRef.Name {
			if err := yaml.Unmarshal(o.text, &p); err != nil {
				t.Fatal(err)
			}
		}
	}
	given.add(p.Spec.Params, r.Spec.Params)
	environments := map[string]values{}
	for _, task := range p.Spec.Tasks {
		spec := readTask(t, task.TaskRef.Name).Spec
		for i := range task.Params {
			task.Params[i].Value = given.in(t, task.Params[i].Value)
		}
		inner := values{"workspaces.reports.path": ""}
		inner.add(spec.Params, task.Params)
		for _, c := range spec.Steps {
			environment := values{}
			for _, variable := range append(spec.StepTemplate.Env, c.Env...) {
				switch {
				case variable.ValueFrom == nil:
					environment[variable.Name] = inner.in(t, variable.Value)
				case variable.ValueFrom.SecretKeyRef.Key == "username", variable.ValueFrom.SecretKeyRef.Key == "password":
					environment[variable.Name] = "secret-" + variable.ValueFrom.SecretKeyRef.Name
				}
			}
			environments[task.TaskRef.Name+"/"+c.Name] = environment
		}
	}
	return environments
}

// add takes parameters, and the defaults of those that are not given.
func (v values) add(declared []param, given []named) {
	for _, p := range declared {
		if p.Default != nil {
			v["params."+p.Name] = *p.Default
		}
	}
	for _, p := range given {
		v["params."+p.Name] = p.Value
	}
}

var reference = regexp.MustCompile(`\$\(([^)]+)\)`)

// in replaces what a value refers to.
func (v values) in(t *testing.T, text string) string {
	t.Helper()
	return reference.ReplaceAllStringFunc(text, func(found string) string {
		value, known := v[reference.FindStringSubmatch(found)[1]]
		if !known {
			t.Errorf("%s stands for nothing", found)
		}
		return value
	})
}

// ask has the step of a container read its environment and say what is wrong with it.
func ask(t *testing.T, container string, environment values) (status int, output string) {
	t.Helper()
	task, _, _ := strings.Cut(container, "/")
	for _, program := range programs() {
		if program.Name == task {
			var all []string
			for name, value := range environment {
				all = append(all, fmt.Sprintf("%s=%s", name, value))
			}
			var out bytes.Buffer
			status := step.Run(context.Background(), program, []string{"--print-config"}, all, &out, &out)
			return status, out.String()
		}
	}
	t.Fatalf("no step is called %s", task)
	return 0, ""
}
