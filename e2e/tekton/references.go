package main

import (
	"fmt"
	"regexp"
	"slices"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/yaml"
)

// follower follows what objects say of one another, which a cluster finds out only when something runs.
type follower struct {
	objects  []object
	followed int
	findings []string
}

// references counts what objects refer to, and finds what is not there or does not fit.
func references(objects []object) (followed int, findings []string) {
	f := &follower{objects: objects}
	for _, o := range objects {
		switch value := o.value.(type) {
		case *pipeline.Pipeline:
			f.pipeline(o, value.Spec)
		case *pipeline.PipelineRun:
			f.run(o, value.Spec)
		case *triggers.TriggerTemplate:
			for _, resource := range value.Spec.ResourceTemplates {
				var run pipeline.PipelineRun
				if err := yaml.Unmarshal(resource.Raw, &run); err != nil {
					f.found(o, "%v", err)
				}
				f.run(o, run.Spec)
			}
		case *triggers.Trigger:
			f.trigger(o, value)
		case *triggers.EventListener:
			f.listener(o, value)
		case *rbac.RoleBinding:
			f.binding(o, value.RoleRef, value.Subjects)
		case *rbac.ClusterRoleBinding:
			f.binding(o, value.RoleRef, value.Subjects)
		}
	}
	return f.followed, f.findings
}

func (f *follower) found(o object, format string, args ...any) {
	f.findings = append(f.findings, o.String()+": "+fmt.Sprintf(format, args...))
}

// get returns the object that o names.
func (f *follower) get(o object, kind, namespace, name string) any {
	f.followed++
	for _, other := range f.objects {
		if other.Kind == kind && other.Namespace == namespace && other.Name == name {
			return other.value
		}
	}
	f.found(o, "there is no %s %s/%s", kind, namespace, name)
	return nil
}

var taskResult = regexp.MustCompile(`\$\(tasks\.([^.]+)\.results\.([^)]+)\)`)

func (f *follower) pipeline(o object, spec pipeline.PipelineSpec) {
	results := map[string][]string{}
	for _, task := range append(spec.Tasks, spec.Finally...) {
		found, ok := f.get(o, "Task", o.Namespace, task.TaskRef.Name).(*pipeline.Task)
		if !ok {
			continue
		}
		f.params(o, "the task "+task.Name, task.Params, found.Spec.Params)
		for _, workspace := range found.Spec.Workspaces {
			given := slices.ContainsFunc(task.Workspaces, func(w pipeline.WorkspacePipelineTaskBinding) bool { return w.Name == workspace.Name })
			if !given && !workspace.Optional {
				f.found(o, "the task %s is not given the workspace %s", task.Name, workspace.Name)
			}
		}
		for _, result := range found.Spec.Results {
			results[task.Name] = append(results[task.Name], result.Name)
		}
	}
	text, err := yaml.Marshal(spec)
	if err != nil {
		f.found(o, "%v", err)
	}
	for _, reference := range taskResult.FindAllStringSubmatch(string(text), -1) {
		f.followed++
		if !slices.Contains(results[reference[1]], reference[2]) {
			f.found(o, "%s: the task has no such result", reference[0])
		}
	}
}

func (f *follower) run(o object, spec pipeline.PipelineRunSpec) {
	found, ok := f.get(o, "Pipeline", o.Namespace, spec.PipelineRef.Name).(*pipeline.Pipeline)
	if !ok {
		return
	}
	f.params(o, "the pipeline", spec.Params, found.Spec.Params)
	accounts := map[string]string{}
	for _, task := range spec.TaskRunSpecs {
		accounts[task.PipelineTaskName] = task.ServiceAccountName
	}
	for _, task := range append(found.Spec.Tasks, found.Spec.Finally...) {
		if accounts[task.Name] == "" {
			f.found(o, "the task %s is given no ServiceAccount, and would run under default", task.Name)
			continue
		}
		f.get(o, "ServiceAccount", o.Namespace, accounts[task.Name])
		delete(accounts, task.Name)
	}
	for task := range accounts {
		f.found(o, "the pipeline has no task %s", task)
	}
}

// params compares what is given with what is wanted.
func (f *follower) params(o object, who string, given pipeline.Params, wanted pipeline.ParamSpecs) {
	for _, param := range given {
		f.followed++
		if !slices.ContainsFunc(wanted, func(p pipeline.ParamSpec) bool { return p.Name == param.Name }) {
			f.found(o, "%s is given %s, which it does not know", who, param.Name)
		}
	}
	for _, param := range wanted {
		if param.Default == nil && !slices.ContainsFunc(given, func(p pipeline.Param) bool { return p.Name == param.Name }) {
			f.found(o, "%s is not given %s", who, param.Name)
		}
	}
}

// trigger compares what a Trigger binds with what its template declares.
func (f *follower) trigger(o object, trigger *triggers.Trigger) {
	bound := map[string]bool{}
	for _, binding := range trigger.Spec.Bindings {
		if binding.Ref == "" {
			bound[binding.Name] = true
			continue
		}
		if found, ok := f.get(o, "TriggerBinding", o.Namespace, binding.Ref).(*triggers.TriggerBinding); ok {
			for _, param := range found.Spec.Params {
				bound[param.Name] = true
			}
		}
	}
	template, ok := f.get(o, "TriggerTemplate", o.Namespace, *trigger.Spec.Template.Ref).(*triggers.TriggerTemplate)
	if !ok {
		return
	}
	for _, param := range template.Spec.Params {
		f.followed++
		if !bound[param.Name] && param.Default == nil {
			f.found(o, "the template's %s is bound to nothing", param.Name)
		}
		delete(bound, param.Name)
	}
	for name := range bound {
		f.found(o, "%s is bound, and the template does not know it", name)
	}
}

func (f *follower) listener(o object, listener *triggers.EventListener) {
	f.get(o, "ServiceAccount", o.Namespace, listener.Spec.ServiceAccountName)
	heard := 0
	for _, other := range f.objects {
		trigger, ok := other.value.(*triggers.Trigger)
		if ok && other.Namespace == o.Namespace &&
			labels.SelectorFromSet(listener.Spec.LabelSelector.MatchLabels).Matches(labels.Set(trigger.Labels)) {
			heard++
		}
	}
	f.followed += heard
	if heard == 0 {
		f.found(o, "it selects no Trigger")
	}
}

func (f *follower) binding(o object, role rbac.RoleRef, subjects []rbac.Subject) {
	switch {
	case role.Kind == "Role":
		f.get(o, "Role", o.Namespace, role.Name)
	case o.origin != "openshift": // whose ClusterRoles are the cluster's own
		f.get(o, "ClusterRole", "", role.Name)
	}
	for _, subject := range subjects {
		f.get(o, subject.Kind, subject.Namespace, subject.Name)
	}
}
