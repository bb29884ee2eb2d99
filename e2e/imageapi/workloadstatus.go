package imageapi

import (
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// report writes a workload's status as its kind's controller would, and returns when its deadline is to be looked at.
func (c *rolloutController) report(w *workload) (again time.Duration) {
	wanted, fresh, old := w.wanted(), int64(len(w.fresh)), int64(len(w.old))
	freshReady, oldReady := ready(w.fresh), ready(w.old)
	before, _, _ := unstructured.NestedMap(w.object.Object, "status")
	status := map[string]any{"observedGeneration": w.object.GetGeneration()}
	counts := map[string]int64{}
	switch w.kind.resource {
	case daemonSets:
		status["numberMisscheduled"] = int64(0)
		status["currentNumberScheduled"], status["desiredNumberScheduled"] = min(fresh+old, wanted), wanted
		status["numberReady"] = freshReady + oldReady
		counts["updatedNumberScheduled"], counts["numberAvailable"] = fresh, freshReady+oldReady
		counts["numberUnavailable"] = wanted - freshReady - oldReady
	case statefulSets:
		status["replicas"] = fresh + old
		counts["updatedReplicas"], counts["readyReplicas"] = fresh, freshReady+oldReady
		counts["availableReplicas"], counts["currentReplicas"] = freshReady+oldReady, old
		status["updateRevision"], status["currentRevision"] = w.revision(), w.revision()
		if old > 0 {
			status["currentRevision"] = w.old[0].GetLabels()[w.kind.label]
		} else {
			counts["currentReplicas"] = fresh
		}
	default:
		counts["replicas"], counts["updatedReplicas"] = fresh+old, fresh
		counts["readyReplicas"], counts["availableReplicas"] = freshReady+oldReady, freshReady+oldReady
		counts["unavailableReplicas"] = max(wanted, fresh+old) - freshReady - oldReady
		counts["terminatingReplicas"] = int64(w.going)
		var conditions []any
		conditions, again = c.conditions(w, items(before, "conditions"))
		status["conditions"] = conditions
		if w.kind.resource == deploymentConfigs && w.set != nil {
			status["latestVersion"] = number(map[string]any{"v": versionOf(w.set)}, 1, "v")
		}
	}
	for name, count := range counts {
		if count > 0 {
			status[name] = count
		}
	}
	w.object.Object["status"] = status
	return again
}

func versionOf(set *unstructured.Unstructured) int64 {
	var version int64
	_, _ = fmt.Sscan(set.GetAnnotations()[revisionAnnotation], &version)
	return version
}

// conditions returns Available, Progressing and, when pods cannot be made, ReplicaFailure.
func (c *rolloutController) conditions(w *workload, before []map[string]any) (list []any, again time.Duration) {
	wanted, fresh, old := w.wanted(), int64(len(w.fresh)), int64(len(w.old))
	available := ready(w.fresh) + ready(w.old)
	add := func(kind, status, reason, message string) {
		list = append(list, keepTimes(before, map[string]any{
			"type": kind, "status": status, "reason": reason, "message": message,
		}))
	}
	if available >= wanted-wanted/4 {
		add("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.")
	} else {
		add("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.")
	}
	if w.failed != "" {
		add("ReplicaFailure", "True", "FailedCreate", w.failed)
	}
	if w.paused() {
		add("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused")
		return list, 0
	}
	kind, done, name := "ReplicaSet", "NewReplicaSetAvailable", w.set.GetName()
	if w.kind.resource == deploymentConfigs {
		kind, done = "replication controller", "NewReplicationControllerAvailable"
	}
	if fresh == wanted && old == 0 && ready(w.fresh) == wanted {
		delete(c.progress, w.object.GetUID())
		add("Progressing", "True", done, fmt.Sprintf("%s %q has successfully progressed.", kind, name))
		return list, 0
	}
	// What counts as coming forward is what the real controller counts: more new, more ready, or fewer old pods.
	state := fmt.Sprint(w.hash, fresh, old, ready(w.fresh), w.object.GetGeneration())
	if c.progress[w.object.GetUID()].state != state {
		c.progress[w.object.GetUID()] = progress{state, time.Now()}
	}
	deadline := time.Duration(number(w.object.Object, int64(c.server.options.ProgressDeadline.Seconds()),
		"spec", "progressDeadlineSeconds")) * time.Second
	left := deadline - time.Since(c.progress[w.object.GetUID()].since)
	if left <= 0 {
		add("Progressing", "False", "ProgressDeadlineExceeded", fmt.Sprintf("%s %q has timed out progressing.", kind, name))
		return list, 0
	}
	add("Progressing", "True", "ReplicaSetUpdated", fmt.Sprintf("%s %q is progressing.", kind, name))
	return list, left
}

// keepTimes gives a condition the times of the one before: the transition's while its status is the same, the update's
// while all of it is.
func keepTimes(before []map[string]any, condition map[string]any) map[string]any {
	now := metav1.Now().UTC().Format(time.RFC3339)
	timed := maps.Clone(condition)
	timed["lastTransitionTime"], timed["lastUpdateTime"] = now, now
	for _, one := range before {
		if one["type"] != condition["type"] {
			continue
		}
		if one["status"] == condition["status"] {
			timed["lastTransitionTime"] = one["lastTransitionTime"]
			if one["reason"] == condition["reason"] && one["message"] == condition["message"] {
				timed["lastUpdateTime"] = one["lastUpdateTime"]
			}
		}
	}
	return timed
}

// reportSet writes how many pods the present set has, and that earlier ones are scaled down.
func (c *rolloutController) reportSet(w *workload) {
	sets, _ := c.server.store.list(*w.kind.sets, w.object.GetNamespace())
	for _, set := range sets {
		if !ownedBy(set, w.object.GetUID()) {
			continue
		}
		var own []*unstructured.Unstructured
		for _, pod := range append(w.fresh[:len(w.fresh):len(w.fresh)], w.old...) {
			if ownedBy(pod, set.GetUID()) {
				own = append(own, pod)
			}
		}
		after := set.DeepCopy()
		wanted := int64(len(own))
		if set.GetUID() == w.set.GetUID() {
			wanted = w.wanted()
		}
		put(after.Object, wanted, "spec", "replicas")
		status := map[string]any{"replicas": int64(len(own)), "observedGeneration": after.GetGeneration()}
		if ready := ready(own); ready > 0 {
			status["readyReplicas"], status["availableReplicas"] = ready, ready
		}
		after.Object["status"] = status
		_, _ = c.server.store.update(*w.kind.sets, after) // a conflict: it runs again anyway
	}
}
