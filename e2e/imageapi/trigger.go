package imageapi

import (
	"context"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// triggerController writes the images that stream tags point at into the pod templates that follow them.
type triggerController struct {
	server *Server
	seen   map[triggerKey]time.Time // when a template was first seen to lag behind
}

type triggerKey struct {
	workload        types.UID
	path, reference string
}

// trigger is one image trigger of one workload.
type trigger struct {
	namespace, stream, tag string
	path                   string // as the annotation or the DeploymentConfig writes it, to tell triggers apart
	container              map[string]any
	params                 map[string]any // of a DeploymentConfig, which notes the image there as well
}

// triggered are the resources whose pod templates can follow a tag.
var triggered = []resource{deployments, deploymentConfigs, statefulSets, daemonSets, cronJobs}

func (c *triggerController) reconcile(ctx context.Context) (again time.Duration) {
	for _, r := range triggered {
		for _, object := range c.server.around.workloads(r) {
			again = sooner(again, c.follow(ctx, r, object.DeepCopy()))
		}
	}
	return again
}

// follow brings one workload's template up to its tags; object is a copy.
func (c *triggerController) follow(ctx context.Context, r resource, object *unstructured.Unstructured) (again time.Duration) {
	drops := c.server.fault().Trigger
	if drops != nil && drops(object.GetNamespace(), r.kind, object.GetName()) {
		return 0
	}
	changed := false
	for _, one := range triggersOf(r, object) {
		stored, err := c.server.store.get(imageStreams, one.namespace, one.stream)
		if err != nil {
			continue
		}
		head := streamOf(stored).head(one.tag)
		if head == nil || one.container["image"] == head.DockerImageReference {
			continue
		}
		k := triggerKey{object.GetUID(), one.path, head.DockerImageReference}
		if _, found := c.seen[k]; !found {
			c.seen[k] = time.Now()
		}
		if wait := c.server.options.TriggerDelay - time.Since(c.seen[k]); wait > 0 {
			again = sooner(again, wait)
			continue
		}
		delete(c.seen, k)
		one.container["image"] = head.DockerImageReference
		if one.params != nil {
			one.params["lastTriggeredImage"] = head.DockerImageReference
		}
		changed = true
	}
	if !changed {
		return again
	}
	if err := c.server.around.updateWorkload(ctx, r, object); err != nil {
		return 10 * time.Millisecond // somebody wrote it meanwhile: look again
	}
	c.server.options.Log("trigger %s %s/%s follows its stream tag", r.kind, object.GetNamespace(), object.GetName())
	return again
}

// triggersOf reads the triggers that are not paused. Their containers are parts of object, so that a change there is
// one of the object. As in the real controller, an annotation that cannot be read has no trigger at all.
func triggersOf(r resource, object *unstructured.Unstructured) []trigger {
	var entries []struct {
		From      from   `json:"from"`
		FieldPath string `json:"fieldPath"`
		Paused    bool   `json:"paused"`
	}
	annotation := object.GetAnnotations()["image.openshift.io/triggers"]
	if annotation != "" && json.Unmarshal([]byte(annotation), &entries) != nil {
		entries = nil
	}
	var found []trigger
	add := func(source from, path string, container, params map[string]any) {
		stream, tag, ok := strings.Cut(source.Name, ":")
		if !ok || source.Kind != "ImageStreamTag" || container == nil {
			return
		}
		namespace := source.Namespace
		if namespace == "" {
			namespace = object.GetNamespace()
		}
		found = append(found, trigger{namespace, stream, tag, path, container, params})
	}
	for _, one := range entries {
		if !one.Paused {
			add(one.From, one.FieldPath, containerAt(object.Object, one.FieldPath), nil)
		}
	}
	if r != deploymentConfigs {
		return found
	}
	for _, one := range items(object.Object, "spec", "triggers") {
		params, _ := one["imageChangeParams"].(map[string]any)
		if automatic, _ := params["automatic"].(bool); text(one, "type") != "ImageChange" || !automatic {
			continue
		}
		source := from{text(params, "from", "kind"), text(params, "from", "namespace"), text(params, "from", "name")}
		names, _, _ := unstructured.NestedStringSlice(params, "containerNames")
		for _, name := range names {
			path := `spec.template.spec.containers[?(@.name=="` + name + `")].image`
			add(source, path, containerAt(object.Object, path), params)
		}
	}
	return found
}

// fieldPath is what a trigger may name: a container's image in the pod template, by the container's name or index.
var fieldPath = regexp.MustCompile(
	`^(spec\.(?:jobTemplate\.spec\.)?template\.spec)\.(containers|initContainers)\[(?:(\d+)|\?\(@\.name==["']([^"']+)["']\))\]\.image$`)

// containerAt returns the container that a field path names, or nil.
func containerAt(object map[string]any, path string) map[string]any {
	match := fieldPath.FindStringSubmatch(path)
	if match == nil {
		return nil
	}
	index, err := strconv.Atoi(match[3])
	for i, container := range items(object, append(pathOf(match[1]), match[2])...) {
		if (err == nil && i == index) || (err != nil && text(container, "name") == match[4]) {
			return container
		}
	}
	return nil
}
