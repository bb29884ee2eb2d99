package imageapi

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/rand"
)

// workload is one object that has pods, while it is looked at.
type workload struct {
	kind   workloadKind
	object *unstructured.Unstructured // a copy, whose status is written anew
	hash   string                     // of the pod template: pods with another one are old
	set    *unstructured.Unstructured // the ReplicaSet or ReplicationController of the template; nil where the kind has none
	fresh  []*unstructured.Unstructured
	old    []*unstructured.Unstructured
	going  int // pods that are being stopped
	failed string
}

// workloadKind is how a kind of workload keeps its pods.
type workloadKind struct {
	resource resource
	label    string    // of the pods: which template they are from
	sets     *resource // what stands between the workload and its pods
}

var workloadKinds = []workloadKind{
	{deployments, "pod-template-hash", &replicaSets},
	{deploymentConfigs, "deployment", &controllers},
	{statefulSets, "controller-revision-hash", nil},
	{daemonSets, "controller-revision-hash", nil},
}

// workloadAnnotation names a pod's workload, which its owner (a ReplicaSet) only resembles.
const workloadAnnotation = "imageapi.test/workload"

// wanted is how many pods the workload should have; a DaemonSet has one, on the one node.
func (w *workload) wanted() int64 {
	if w.kind.resource == daemonSets {
		return 1
	}
	return number(w.object.Object, 1, "spec", "replicas")
}

// strategy is how old pods are replaced: RollingUpdate, Recreate or OnDelete.
func (w *workload) strategy() string {
	for _, field := range []string{"strategy", "updateStrategy"} {
		if kind := text(w.object.Object, "spec", field, "type"); kind != "" {
			return kind
		}
	}
	return "RollingUpdate"
}

func (w *workload) paused() bool {
	paused, _, _ := unstructured.NestedBool(w.object.Object, "spec", "paused")
	return paused
}

// look gathers what belongs to a workload.
func (s *Server) look(kind workloadKind, stored *unstructured.Unstructured) *workload {
	w := &workload{kind: kind, object: stored.DeepCopy()}
	template, _, _ := unstructured.NestedMap(w.object.Object, "spec", "template")
	w.hash = hashOf(template)
	owner := w.object.GetUID()
	if kind.sets != nil && !w.paused() {
		w.set = s.makeSet(w, template)
		owner = w.set.GetUID()
	}
	pods, _ := s.store.list(pods, w.object.GetNamespace())
	for _, pod := range pods {
		if pod.GetAnnotations()[workloadAnnotation] != w.mark() {
			continue
		}
		switch {
		case pod.GetDeletionTimestamp() != nil:
			w.going++
		case pod.GetLabels()[kind.label] == w.revision() && (kind.sets == nil || w.set == nil || ownedBy(pod, owner)):
			w.fresh = append(w.fresh, pod)
		default:
			w.old = append(w.old, pod)
		}
	}
	return w
}

func (w *workload) mark() string { return w.kind.resource.kind + "/" + w.object.GetName() }

// revision is what the kind's label on a pod of the present template says.
func (w *workload) revision() string {
	if w.kind.resource == deploymentConfigs && w.set != nil {
		return w.set.GetName()
	}
	if w.kind.sets == nil {
		return w.object.GetName() + "-" + w.hash
	}
	return w.hash
}

func ownedBy(object *unstructured.Unstructured, uid types.UID) bool {
	return slices.ContainsFunc(object.GetOwnerReferences(), func(one metav1.OwnerReference) bool { return one.UID == uid })
}

func hashOf(template map[string]any) string {
	data, _ := json.Marshal(template) // maps come ordered, and JSON types cannot fail
	hash := fnv.New32a()
	_, _ = hash.Write(data)
	return rand.SafeEncodeString(fmt.Sprint(hash.Sum32()))
}

// makeSet returns the set of the present template, made or brought to the front: it has the highest revision.
func (s *Server) makeSet(w *workload, template map[string]any) *unstructured.Unstructured {
	found, _ := s.store.list(*w.kind.sets, w.object.GetNamespace())
	highest, at := 0, -1
	for i, set := range found {
		if !ownedBy(set, w.object.GetUID()) {
			continue
		}
		revision, _ := strconv.Atoi(set.GetAnnotations()[revisionAnnotation])
		highest = max(highest, revision)
		if set.GetAnnotations()["imageapi.test/hash"] == w.hash {
			at = i
		}
	}
	if at >= 0 {
		set := found[at].DeepCopy()
		if set.GetAnnotations()[revisionAnnotation] != strconv.Itoa(highest) {
			annotate(set, revisionAnnotation, strconv.Itoa(highest+1))
			if updated, err := s.store.update(*w.kind.sets, set); err == nil {
				set = updated
			}
		}
		w.setRevision(set)
		return set
	}
	name := w.object.GetName() + "-" + w.hash
	if w.kind.resource == deploymentConfigs {
		name = fmt.Sprintf("%s-%d", w.object.GetName(), highest+1)
	}
	set := &unstructured.Unstructured{Object: map[string]any{}}
	set.SetName(name)
	set.SetNamespace(w.object.GetNamespace())
	set.SetOwnerReferences([]metav1.OwnerReference{ownerReference(w.object)})
	annotate(set, revisionAnnotation, strconv.Itoa(highest+1))
	annotate(set, "imageapi.test/hash", w.hash)
	set.SetGeneration(1)
	put(set.Object, template, "spec", "template")
	put(set.Object, w.wanted(), "spec", "replicas")
	if selector, found, _ := unstructured.NestedMap(w.object.Object, "spec", "selector"); found {
		put(set.Object, selector, "spec", "selector")
	}
	set.SetLabels(labelsOf(template))
	created, err := s.store.create(*w.kind.sets, set)
	if err != nil {
		created, err = s.store.get(*w.kind.sets, set.GetNamespace(), name)
	}
	if err != nil {
		return set
	}
	w.setRevision(created)
	return created
}

const revisionAnnotation = "deployment.kubernetes.io/revision"

func (w *workload) setRevision(set *unstructured.Unstructured) {
	if w.kind.resource == deployments {
		annotate(w.object, revisionAnnotation, set.GetAnnotations()[revisionAnnotation])
	}
}

func annotate(object *unstructured.Unstructured, name, value string) {
	annotations := maps.Clone(object.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[name] = value
	object.SetAnnotations(annotations)
}

func ownerReference(owner *unstructured.Unstructured) metav1.OwnerReference {
	return metav1.OwnerReference{
		APIVersion: owner.GetAPIVersion(), Kind: owner.GetKind(), Name: owner.GetName(), UID: owner.GetUID(),
		Controller: new(true), BlockOwnerDeletion: new(true),
	}
}

func labelsOf(template map[string]any) map[string]string {
	labels, _, _ := unstructured.NestedStringMap(template, "metadata", "labels")
	if labels == nil {
		labels = map[string]string{}
	}
	return labels
}

// makePod creates a pod of the present template; index counts the pods of a StatefulSet.
func (s *Server) makePod(w *workload, index int) error {
	template, _, _ := unstructured.NestedMap(w.object.Object, "spec", "template")
	for i, container := range items(template, "spec", "containers") {
		if problem := imageProblem(text(container, "image")); problem != "" {
			w.failed = fmt.Sprintf("Pod %q is invalid: spec.containers[%d].image: %s", w.podName(index), i, problem)
			return nil
		}
	}
	pod := &unstructured.Unstructured{Object: map[string]any{}}
	if annotations, found, _ := unstructured.NestedMap(template, "metadata", "annotations"); found {
		put(pod.Object, annotations, "metadata", "annotations")
	}
	pod.SetName(w.podName(index))
	pod.SetNamespace(w.object.GetNamespace())
	labels := labelsOf(template)
	labels[w.kind.label] = w.revision()
	pod.SetLabels(labels)
	annotate(pod, workloadAnnotation, w.mark())
	owner := w.object
	if w.set != nil {
		owner = w.set
	}
	pod.SetOwnerReferences([]metav1.OwnerReference{ownerReference(owner)})
	put(pod.Object, template["spec"], "spec")
	put(pod.Object, "Pending", "status", "phase")
	_, err := s.store.create(pods, pod)
	return err
}

func (w *workload) podName(index int) string {
	switch {
	case w.kind.resource == statefulSets:
		return fmt.Sprintf("%s-%d", w.object.GetName(), index)
	case w.set != nil:
		return w.set.GetName() + "-" + rand.String(5)
	}
	return w.object.GetName() + "-" + rand.String(5)
}

// imageProblem is what the API says of an image that no pod can have, such as the blank that `oc new-app` begins with.
func imageProblem(image string) string {
	switch {
	case image == "":
		return "Required value"
	case strings.TrimSpace(image) != image:
		return fmt.Sprintf("Invalid value: %q: must not have leading or trailing whitespace", image)
	}
	return ""
}
