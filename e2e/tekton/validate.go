package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/tektoncd/triggers/pkg/apis/triggers/contexts"
	triggers "github.com/tektoncd/triggers/pkg/apis/triggers/v1beta1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"knative.dev/pkg/apis"
	"sigs.k8s.io/yaml"
)

// howChecked says what is done with a kind.
func howChecked(kind string) string {
	for name, newValue := range types {
		switch _, own, _ := strings.Cut(name, " "); {
		case own != kind:
		case newValue == nil:
			return "rendered only"
		default:
			if _, ok := newValue().(apis.Validatable); ok {
				return "decoded strictly, defaulted and validated by Tekton"
			}
			return "decoded strictly"
		}
	}
	return "not known"
}

// validateAll has Tekton default and validate its objects, as its webhook does when they are created.
func validateAll(ctx context.Context, objects []object) (findings []string) {
	for _, o := range objects {
		findings = append(findings, validate(ctx, o)...)
		template, ok := o.value.(*triggers.TriggerTemplate)
		if !ok {
			continue
		}
		for i, resource := range template.Spec.ResourceTemplates {
			text, err := yaml.JSONToYAML(resource.Raw)
			if err != nil {
				findings = append(findings, fmt.Sprintf("%s: %v", o, err))
				continue
			}
			inner, err := decode(fmt.Sprintf("%s, resource %d", o, i), text)
			if err != nil {
				findings = append(findings, err.Error())
				continue
			}
			findings = append(findings, validate(ctx, inner)...)
		}
	}
	return findings
}

func validate(ctx context.Context, o object) []string {
	ctx = contexts.WithUpgradeViaDefaulting(apis.WithinCreate(ctx))
	// The API server makes a name before it asks anyone.
	if meta, ok := o.value.(metav1.Object); ok && meta.GetName() == "" && meta.GetGenerateName() != "" {
		meta.SetName(meta.GetGenerateName() + "x1y2z")
	}
	if defaultable, ok := o.value.(apis.Defaultable); ok {
		defaultable.SetDefaults(ctx)
	}
	validatable, ok := o.value.(apis.Validatable)
	if !ok {
		return nil
	}
	if err := validatable.Validate(ctx); err != nil {
		return []string{fmt.Sprintf("%s: %v", o, err)}
	}
	return nil
}
