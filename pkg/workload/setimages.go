package workload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// KeptAnnotation holds on a workload what [Client.SetImages] set, and what was there before: a JSON object of container
// name to [Kept]. It is on the workload and not on its pod template, so that it starts no rollout.
const KeptAnnotation = "dockline/images"

// Kept is what is remembered of one container.
type Kept struct {
	Now            Setting  `json:"now"`
	Before         *Setting `json:"before,omitempty"`         // what a rollback goes back to
	RolledBackFrom string   `json:"rolledBackFrom,omitempty"` // image that Now was gone back from: another rollback goes no further
}

// Setting is an image that a container was set to.
type Setting struct {
	Image string `json:"image"`          // as the pod template has it
	From  string `json:"from,omitempty"` // HOST/NAME:VERSION that it was; empty when it is not known
}

// Setting returns what the place has now, with the version that it came from when it is as it was set.
func (p Place) Setting() Setting {
	if p.Kept.Now.Image == p.Image {
		return p.Kept.Now
	}
	return Setting{Image: p.Image}
}

// Previous returns the newest image that the place had before the present one, as far as that was kept.
func (p Place) Previous() (Setting, bool) {
	switch {
	case p.Kept.Now.Image != "" && p.Kept.Now.Image != p.Image: // somebody else set another one since
		return p.Kept.Now, true
	case p.Kept.Before != nil:
		return *p.Kept.Before, true
	}
	return Setting{}, false
}

// RolledBack tells whether the place has the image that a rollback gave it.
func (p Place) RolledBack() bool { return p.Kept.RolledBackFrom != "" && p.Kept.Now.Image == p.Image }

func (w Workload) kept() (map[string]Kept, error) {
	kept := map[string]Kept{}
	text := w.object.GetAnnotations()[KeptAnnotation]
	if text == "" {
		return kept, nil
	}
	if err := json.Unmarshal([]byte(text), &kept); err != nil {
		return nil, fault.New(fault.Refused, "%s: the annotation %s cannot be read: %w", w, KeptAnnotation, err)
	}
	return kept, nil
}

// Change is a new image for one place.
type Change struct {
	Place Place
	To    Kept
}

// SetImages writes the changes, which must be of one workload, in one server-side apply: so there is one rollout.
//
// It is a compare-and-set: a container that has another image than its Place is an error of kind fault.Refused. So is
// one whose image was set under another field manager, unless that is one of takeOver.
func (c *Client) SetImages(ctx context.Context, changes []Change, takeOver []string) error {
	return c.apply(ctx, changes, takeOver, false)
}

// CheckImages has the API check the changes as [Client.SetImages] would make them, conflicts included, and stores nothing.
func (c *Client) CheckImages(ctx context.Context, changes []Change, takeOver []string) error {
	return c.apply(ctx, changes, takeOver, true)
}

func (c *Client) apply(ctx context.Context, changes []Change, takeOver []string, dry bool) error {
	w := changes[0].Place.Workload
	for range mostRaces {
		object, err := w.applied(changes)
		if err != nil {
			return fault.At(cluster.Side, err)
		}
		_, err = c.cluster.Apply(ctx, resourceOf(w.Kind), c.namespace, object, cluster.ApplyOptions{DryRun: dry})
		if conflicts := cluster.FieldConflicts(err); len(conflicts) > 0 {
			if foreign := foreign(conflicts, takeOver); len(foreign) > 0 {
				return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Refused,
					"setting the image of %s: it is managed by %s", w, strings.Join(foreign, ", "))),
					"TAKE_OVER_FROM with this name takes the image over; but whoever sets it there should leave it out from now on.")
			}
			_, err = c.cluster.Apply(ctx, resourceOf(w.Kind), c.namespace, object, cluster.ApplyOptions{DryRun: dry, Force: true})
		}
		if !errors.Is(err, cluster.ErrConflict) {
			return err
		}
		if w, err = c.get(ctx, w.Kind, w.Name); err != nil { // a controller wrote its status, or the answer to our write was lost
			return err
		}
		done, err := w.compare(changes)
		if done || err != nil {
			return err
		}
	}
	return fault.At(cluster.Side, fault.New(fault.Unavailable, "setting the image of %s: it changes all the time", w))
}

// mostRaces bounds how often a write is tried again that somebody else's came before: a rollout changes a workload's
// status several times a second.
const mostRaces = 20

// compare tells whether the workload has all of the changes, and refuses where somebody else set an image.
func (w Workload) compare(changes []Change) (done bool, err error) {
	done = true
	for _, change := range changes {
		now, err := w.place(change.Place.Named())
		if err != nil {
			return false, fault.At(cluster.Side, err)
		}
		if now.Image == change.To.Now.Image {
			continue
		}
		done = false
		if now.Image != change.Place.Image {
			return false, fault.At(cluster.Side, fault.New(fault.Refused,
				"setting the image of %s: somebody else set it to %s in the meantime", change.Place, now.Image))
		}
	}
	return done, nil
}

// foreign returns the managers among the conflicts whose fields are not to be taken over, quoted.
func foreign(conflicts []cluster.FieldConflict, takeOver []string) []string {
	var names []string
	for _, conflict := range conflicts {
		if conflict.Manager == cluster.Manager || conflict.Manager != "" && slices.Contains(takeOver, conflict.Manager) {
			continue
		}
		if name := fmt.Sprintf("%q", conflict.Manager); !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// applied is the whole of what is ours in the workload with the changes made: the API removes what an apply leaves out.
func (w Workload) applied(changes []Change) (*unstructured.Unstructured, error) {
	kept, err := w.kept()
	if err != nil {
		return nil, err
	}
	images := map[string]string{}
	for _, name := range w.ours() {
		for _, container := range w.Containers {
			if container.Name == name {
				images[name] = container.Image
			}
		}
	}
	for _, change := range changes {
		images[change.Place.Container] = change.To.Now.Image
		kept[change.Place.Container] = change.To
	}
	text, err := json.Marshal(kept)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetAPIVersion(resourceOf(w.Kind).APIVersion())
	object.SetKind(w.Kind)
	object.SetName(w.Name)
	object.SetNamespace(w.Namespace)
	object.SetResourceVersion(w.object.GetResourceVersion())
	object.SetAnnotations(map[string]string{KeptAnnotation: string(text)})
	lists := map[string][]any{}
	for i, container := range w.Containers {
		if image, set := images[container.Name]; set {
			field := "containers"
			if i < w.inits {
				field = "initContainers"
			}
			lists[field] = append(lists[field], map[string]any{"name": container.Name, "image": image})
		}
	}
	for field, list := range lists {
		if err := unstructured.SetNestedSlice(object.Object, list, append(w.podSpec(), field)...); err != nil {
			return nil, err
		}
	}
	return object, nil
}

// ours returns the names of the containers that earlier applies of ours set, from the managed fields, in which a list
// entry is under the key k:{"name":"app"} (structured-merge-diff, fieldpath/serialize-pe.go).
func (w Workload) ours() []string {
	var names []string
	for _, entry := range w.object.GetManagedFields() {
		if entry.Manager != cluster.Manager || entry.Operation != "Apply" || entry.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(entry.FieldsV1.GetRawBytes(), &fields); err != nil {
			continue
		}
		for _, list := range []string{"initContainers", "containers"} {
			var path []string
			for _, name := range append(w.podSpec(), list) {
				path = append(path, "f:"+name)
			}
			containers, _, _ := unstructured.NestedMap(fields, path...)
			for key := range containers {
				var id struct {
					Name string `json:"name"`
				}
				if text, is := strings.CutPrefix(key, "k:"); is && json.Unmarshal([]byte(text), &id) == nil {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}
