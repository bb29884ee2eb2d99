package workload

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Phase says how far a workload is on its way to an image.
type Phase string

// The phases.
const (
	Untriggered Phase = "not triggered" // its trigger is paused or broken: nothing will happen by itself
	Waiting     Phase = "waiting"       // the pod template does not carry the digest yet
	RollingOut  Phase = "rolling out"   // pods are being replaced
	Complete    Phase = "complete"      // all pods that are wanted run the template, and no older ones
	Held        Phase = "held"          // its rollout is paused, or waits for somebody to delete pods
	Failed      Phase = "failed"        // the cluster has given up
)

// progress judges the rollout of the present pod template from the object's own status, as each kind's controller
// documents it, and says in words how far it is.
func (w Workload) progress() (Phase, string) {
	if w.Kind == CronJob {
		if suspended, _, _ := unstructured.NestedBool(w.object.Object, "spec", "suspend"); suspended {
			return Held, "suspended"
		}
		return Complete, "from the next run on"
	}
	if paused, _, _ := unstructured.NestedBool(w.object.Object, "spec", "paused"); paused {
		return Held, "its rollout is paused (spec.paused)"
	}
	if w.status("observedGeneration") < w.object.GetGeneration() {
		return RollingOut, "its controller has not seen the new template yet"
	}
	switch w.Kind {
	case DaemonSet:
		return w.daemonSet()
	case StatefulSet:
		return w.statefulSet()
	default:
		return w.deployment()
	}
}

func (w Workload) deployment() (Phase, string) {
	for _, condition := range w.conditions() {
		if condition["type"] == "Progressing" && condition["status"] == "False" {
			return Failed, fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
		}
	}
	wanted, updated, available, all := w.wanted(), w.status("updatedReplicas"), w.status("availableReplicas"), w.status("replicas")
	switch {
	case updated < wanted:
		message := fmt.Sprintf("%d of %d pods are new", updated, wanted)
		for _, condition := range w.conditions() {
			if condition["type"] == "ReplicaFailure" && condition["status"] == "True" {
				message += fmt.Sprintf("; %v: %v", condition["reason"], condition["message"])
			}
		}
		return RollingOut, message
	case all > updated:
		return RollingOut, fmt.Sprintf("%d old pods are left", all-updated)
	case available < updated:
		return RollingOut, fmt.Sprintf("%d of %d pods are available", available, updated)
	}
	return Complete, scale(wanted)
}

func (w Workload) statefulSet() (Phase, string) {
	wanted, updated, ready := w.wanted(), w.status("updatedReplicas"), w.status("readyReplicas")
	if strategy, _, _ := unstructured.NestedString(w.object.Object, "spec", "updateStrategy", "type"); strategy == "OnDelete" {
		if updated < wanted {
			return Held, "its pods are replaced only when somebody deletes them (updateStrategy OnDelete)"
		}
	}
	partition, _, _ := unstructured.NestedInt64(w.object.Object, "spec", "updateStrategy", "rollingUpdate", "partition")
	switch {
	case partition > 0 && updated >= wanted-partition && ready >= wanted:
		return Held, fmt.Sprintf("%d of %d pods are new, as its partition wants", updated, wanted)
	case updated < wanted:
		return RollingOut, fmt.Sprintf("%d of %d pods are new", updated, wanted)
	case ready < wanted:
		return RollingOut, fmt.Sprintf("%d of %d pods are ready", ready, wanted)
	}
	return Complete, scale(wanted)
}

func (w Workload) daemonSet() (Phase, string) {
	wanted, updated, available := w.status("desiredNumberScheduled"), w.status("updatedNumberScheduled"), w.status("numberAvailable")
	strategy, _, _ := unstructured.NestedString(w.object.Object, "spec", "updateStrategy", "type")
	switch {
	case updated < wanted && strategy == "OnDelete":
		return Held, "its pods are replaced only when somebody deletes them (updateStrategy OnDelete)"
	case updated < wanted:
		return RollingOut, fmt.Sprintf("%d of %d pods are new", updated, wanted)
	case available < wanted:
		return RollingOut, fmt.Sprintf("%d of %d pods are available", available, wanted)
	}
	return Complete, scale(wanted)
}

func scale(wanted int64) string {
	switch wanted {
	case 0:
		return "scaled to zero"
	case 1:
		return "1 pod"
	default:
		return fmt.Sprintf("%d pods", wanted)
	}
}

// wanted is spec.replicas, whose default is 1.
func (w Workload) wanted() int64 {
	if replicas, found, _ := unstructured.NestedInt64(w.object.Object, "spec", "replicas"); found {
		return replicas
	}
	return 1
}

func (w Workload) status(field string) int64 {
	value, _, _ := unstructured.NestedInt64(w.object.Object, "status", field)
	return value
}

func (w Workload) conditions() []map[string]any {
	var all []map[string]any
	entries, _, _ := unstructured.NestedSlice(w.object.Object, "status", "conditions")
	for _, entry := range entries {
		if fields, ok := entry.(map[string]any); ok {
			all = append(all, fields)
		}
	}
	return all
}
