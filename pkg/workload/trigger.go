package workload

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/imagestream"
)

// TriggerAnnotation holds a workload's image triggers: a JSON list of
// {"from":{"kind":"ImageStreamTag","name":"STREAM:TAG"},"fieldPath":"…containers[?(@.name==\"NAME\")].image"}.
// A DeploymentConfig has them in spec.triggers instead.
const TriggerAnnotation = "image.openshift.io/triggers"

// Trigger has the cluster write a stream tag's image into one container of a pod template.
type Trigger struct {
	StreamTag string // STREAM:TAG
	Namespace string // of the stream; empty means the workload's own
	Container string // its name
	Paused    bool
	Problem   string // why the cluster cannot follow it, in words; empty when it can
}

// Follows returns the triggers of the workload on this stream tag of this namespace.
func (w Workload) Follows(name imagestream.Name, namespace string) []Trigger {
	var found []Trigger
	for _, trigger := range w.Triggers {
		if trigger.StreamTag == name.String() && (trigger.Namespace == "" && w.Namespace == namespace || trigger.Namespace == namespace) {
			found = append(found, trigger)
		}
	}
	return found
}

// annotated reads the annotation. One that cannot be read is one trigger with a problem, on nothing.
func annotated(object *unstructured.Unstructured) []Trigger {
	text := object.GetAnnotations()[TriggerAnnotation]
	if text == "" {
		return nil
	}
	var entries []struct {
		From struct {
			Kind      string `json:"kind"`
			Name      string `json:"name"`
			Namespace string `json:"namespace"`
		} `json:"from"`
		FieldPath string          `json:"fieldPath"`
		Paused    json.RawMessage `json:"paused"`
	}
	if err := json.Unmarshal([]byte(text), &entries); err != nil {
		return []Trigger{{Problem: fmt.Sprintf("the annotation %s cannot be read: %v", TriggerAnnotation, err)}}
	}
	var triggers []Trigger
	for _, entry := range entries {
		trigger := Trigger{StreamTag: entry.From.Name, Namespace: entry.From.Namespace}
		switch paused := string(entry.Paused); paused {
		case "", "null", "false":
		case "true":
			trigger.Paused = true
		default: // a text "false" makes the controller drop the whole annotation (OCPBUGS-43061)
			trigger.Problem = fmt.Sprintf("paused must be true or false without quotes, and is %s", paused)
		}
		if entry.From.Kind != "ImageStreamTag" {
			trigger.Problem = fmt.Sprintf("it follows a %q, and only an ImageStreamTag can be followed", entry.From.Kind)
		}
		var known bool
		if trigger.Container, known = container(object, entry.FieldPath); !known && trigger.Problem == "" {
			trigger.Problem = fmt.Sprintf("its fieldPath %q names no container of the pod template", entry.FieldPath)
		}
		triggers = append(triggers, trigger)
	}
	return triggers
}

// configured reads the image change triggers of a DeploymentConfig.
func configured(kind string, object *unstructured.Unstructured) []Trigger {
	if kind != DeploymentConfig {
		return nil
	}
	var triggers []Trigger
	entries, _, _ := unstructured.NestedSlice(object.Object, "spec", "triggers")
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		if fields["type"] != "ImageChange" {
			continue
		}
		name, _, _ := unstructured.NestedString(fields, "imageChangeParams", "from", "name")
		namespace, _, _ := unstructured.NestedString(fields, "imageChangeParams", "from", "namespace")
		automatic, _, _ := unstructured.NestedBool(fields, "imageChangeParams", "automatic")
		containers, _, _ := unstructured.NestedStringSlice(fields, "imageChangeParams", "containerNames")
		for _, container := range containers {
			triggers = append(triggers, Trigger{StreamTag: name, Namespace: namespace, Container: container, Paused: !automatic})
		}
	}
	return triggers
}

// container finds the name of the container that a trigger's field path means.
func container(object *unstructured.Unstructured, path string) (name string, found bool) {
	match := fieldPath.FindStringSubmatch(path)
	if match == nil {
		return "", false
	}
	template := []string{"spec", "template", "spec"}
	if match[1] != "" {
		template = []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	containers, _, _ := unstructured.NestedSlice(object.Object, append(template, match[2])...)
	index, err := strconv.Atoi(match[3])
	for i, entry := range containers {
		fields, _ := entry.(map[string]any)
		name, _ := fields["name"].(string)
		if err == nil && match[3] != "" && i == index || match[3] == "" && name == match[4] {
			return name, true
		}
	}
	return match[4], false
}

// fieldPath is the form of path that the trigger controller knows (openshift/library-go, pkg/image/trigger).
var fieldPath = regexp.MustCompile(
	`^spec\.(jobTemplate\.spec\.)?template\.spec\.(containers|initContainers)\[(?:(\d+)|\?\(@\.name==["']([^"']+)["']\))\]\.image$`)
