package imageapi

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// rolloutController gives workloads the pods that their templates describe, and reports how far it is.
type rolloutController struct {
	server   *Server
	progress map[types.UID]progress
}

// progress is when a rollout last came forward, which the deadline counts from.
type progress struct {
	state string
	since time.Time
}

func (c *rolloutController) reconcile(context.Context) (again time.Duration) {
	alive := map[types.UID]bool{}
	for _, kind := range workloadKinds {
		found, _ := c.server.store.list(kind.resource, "")
		for _, object := range found {
			alive[object.GetUID()] = true
			again = sooner(again, c.roll(kind, object))
		}
	}
	c.sweep(alive)
	return again
}

// roll does the next thing that one workload needs.
func (c *rolloutController) roll(kind workloadKind, stored *unstructured.Unstructured) (again time.Duration) {
	w := c.server.look(kind, stored)
	if !w.paused() {
		c.replace(w)
	}
	again = c.report(w)
	if w.set != nil {
		c.reportSet(w)
	}
	w.object.SetResourceVersion(stored.GetResourceVersion())
	// A conflict means that somebody wrote it meanwhile, so that this runs again anyway.
	_, _ = c.server.store.update(kind.resource, w.object)
	return again
}

// replace starts new pods and stops old ones. Where a pod's name or place is its identity (StatefulSet, DaemonSet), and
// with the strategy Recreate, the old one goes first; else the new ones come up beside the old, which go when the new
// are ready. With OnDelete only a pod that somebody deletes makes room.
func (c *rolloutController) replace(w *workload) {
	wanted := w.wanted()
	keepsPlace := w.kind.sets == nil
	for int64(len(w.fresh)) > wanted {
		c.stopPod(w.fresh[len(w.fresh)-1])
		w.fresh, w.going = w.fresh[:len(w.fresh)-1], w.going+1
	}
	partition := number(w.object.Object, 0, "spec", "updateStrategy", "rollingUpdate", "partition")
	switch {
	case keepsPlace && w.strategy() != "OnDelete":
		// One at a time, and the next only when the one before is ready.
		if len(w.old) > 0 && w.going == 0 && ready(w.fresh) == int64(len(w.fresh)) &&
			int64(len(w.fresh)+len(w.old)) >= wanted && int64(len(w.fresh)) < max(wanted-partition, 0) {
			c.stopPod(w.old[len(w.old)-1])
			w.old, w.going = w.old[:len(w.old)-1], w.going+1
		}
	case !keepsPlace && w.strategy() == "Recreate":
		c.stopOld(w, 0)
	case !keepsPlace && ready(w.fresh) >= wanted:
		c.stopOld(w, 0)
	}
	for int64(len(w.old)) > 0 && keepsPlace && int64(len(w.fresh)+len(w.old)) > wanted {
		c.stopOld(w, len(w.old)-1)
	}
	if w.strategy() == "Recreate" && w.going > 0 {
		return
	}
	have := int64(len(w.fresh))
	if keepsPlace {
		have += int64(len(w.old) + w.going)
	}
	for i := 0; have < wanted && w.failed == "" && i < maxPods; i++ {
		if c.server.makePod(w, i) == nil {
			have++
		}
	}
}

// maxPods bounds a workload.
const maxPods = 50

func (c *rolloutController) stopOld(w *workload, left int) {
	for len(w.old) > left {
		c.stopPod(w.old[len(w.old)-1])
		w.old, w.going = w.old[:len(w.old)-1], w.going+1
	}
}

// stopPod asks the node to end a pod, which removes it then.
func (c *rolloutController) stopPod(pod *unstructured.Unstructured) {
	leaving := pod.DeepCopy()
	leaving.SetDeletionTimestamp(new(metav1.Now()))
	leaving.SetResourceVersion("")
	_, _ = c.server.store.update(pods, leaving) // gone already: so it should be
}

// sweep removes the sets and pods of workloads that are gone.
func (c *rolloutController) sweep(alive map[types.UID]bool) {
	for _, r := range []resource{replicaSets, controllers} {
		sets, _ := c.server.store.list(r, "")
		for _, set := range sets {
			if owners := set.GetOwnerReferences(); len(owners) > 0 && !alive[owners[0].UID] {
				_, _ = c.server.store.delete(r, set.GetNamespace(), set.GetName())
			} else {
				alive[set.GetUID()] = true
			}
		}
	}
	found, _ := c.server.store.list(pods, "")
	for _, pod := range found {
		owners := pod.GetOwnerReferences()
		if pod.GetAnnotations()[workloadAnnotation] != "" && len(owners) > 0 && !alive[owners[0].UID] &&
			pod.GetDeletionTimestamp() == nil {
			c.stopPod(pod)
		}
	}
	for uid := range c.progress {
		if !alive[uid] {
			delete(c.progress, uid)
		}
	}
}

func ready(pods []*unstructured.Unstructured) int64 {
	count := int64(0)
	for _, pod := range pods {
		for _, one := range items(pod.Object, "status", "conditions") {
			if text(one, "type") == "Ready" && text(one, "status") == "True" {
				count++
			}
		}
	}
	return count
}
