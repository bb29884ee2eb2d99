package main

import (
	"errors"
	"fmt"
	"path/filepath"

	pipeline "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	core "k8s.io/api/core/v1"
	rbac "k8s.io/api/rbac/v1"
	"sigs.k8s.io/json"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// object is one object of a file, decoded into its own type.
type object struct {
	Kind, Namespace, Name string

	origin string // where it comes from
	value  any    // nil when this program knows no type for it
}

func (o object) String() string {
	return fmt.Sprintf("%s: %s %s/%s", o.origin, o.Kind, o.Namespace, o.Name)
}

// types are the objects that there may be, by API version and kind. Nil is what is rendered and not looked into.
var types = map[string]func() any{
	"tekton.dev/v1 Task":                                  func() any { return &pipeline.Task{} },
	"tekton.dev/v1 Pipeline":                              func() any { return &pipeline.Pipeline{} },
	"tekton.dev/v1 PipelineRun":                           func() any { return &pipeline.PipelineRun{} },
	"triggers.tekton.dev/v1beta1 EventListener":           func() any { return &triggers.EventListener{} },
	"triggers.tekton.dev/v1beta1 Trigger":                 func() any { return &triggers.Trigger{} },
	"triggers.tekton.dev/v1beta1 TriggerBinding":          func() any { return &triggers.TriggerBinding{} },
	"triggers.tekton.dev/v1beta1 TriggerTemplate":         func() any { return &triggers.TriggerTemplate{} },
	"v1 Namespace":                                        func() any { return &core.Namespace{} },
	"v1 ServiceAccount":                                   func() any { return &core.ServiceAccount{} },
	"rbac.authorization.k8s.io/v1 Role":                   func() any { return &rbac.Role{} },
	"rbac.authorization.k8s.io/v1 RoleBinding":            func() any { return &rbac.RoleBinding{} },
	"rbac.authorization.k8s.io/v1 ClusterRole":            func() any { return &rbac.ClusterRole{} },
	"rbac.authorization.k8s.io/v1 ClusterRoleBinding":     func() any { return &rbac.ClusterRoleBinding{} },
	"security.openshift.io/v1 SecurityContextConstraints": nil,
}

// read renders the kustomizations and reads the examples beside them, strictly: an unknown field is a finding.
func read(dir string) (objects []object, findings []string) {
	add := func(origin string, text []byte) {
		o, err := decode(origin, text)
		if err != nil {
			findings = append(findings, err.Error())
			return
		}
		objects = append(objects, o)
	}
	for _, root := range []string{dir, filepath.Join(dir, "openshift")} {
		rendered, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), root)
		if err != nil {
			findings = append(findings, fmt.Sprintf("rendering %s: %v", root, err))
			continue
		}
		for _, resource := range rendered.Resources() {
			text, err := resource.AsYAML()
			if err != nil {
				findings = append(findings, err.Error())
				continue
			}
			add(filepath.Base(root), text)
		}
	}
	examples, err := documents(filepath.Join(dir, "examples"))
	if err != nil {
		findings = append(findings, err.Error())
	}
	for _, example := range examples {
		add(example.path, example.text)
	}
	return objects, findings
}

// decode reads one object into its own type.
func decode(origin string, text []byte) (object, error) {
	var head struct {
		APIVersion, Kind string
		Metadata         struct{ Name, GenerateName, Namespace string }
	}
	if err := yaml.Unmarshal(text, &head); err != nil {
		return object{}, fmt.Errorf("%s: %w", origin, err)
	}
	o := object{Kind: head.Kind, Namespace: head.Metadata.Namespace, Name: head.Metadata.Name + head.Metadata.GenerateName, origin: origin}
	newValue, known := types[head.APIVersion+" "+head.Kind]
	if !known {
		return object{}, fmt.Errorf("%s: %s %s is not known here", o, head.APIVersion, head.Kind)
	}
	if newValue == nil {
		return o, nil
	}
	o.value = newValue()
	// As the API server does, to which a field's name in another case is unknown.
	document, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		return object{}, fmt.Errorf("%s: %w", o, err)
	}
	strict, err := json.UnmarshalStrict(document, o.value)
	if err := errors.Join(append(strict, err)...); err != nil {
		return object{}, fmt.Errorf("%s: %w", o, err)
	}
	return o, nil
}
