package cluster

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Manager is the name under which the fields that [Cluster.Apply] sets are ours.
const Manager = "dockline"

// FieldConflict is a field that somebody else has set.
type FieldConflict struct {
	Manager string // the name that they set it under, such as kubectl-client-side-apply; "" when the API does not tell
	Field   string // such as .spec.template.spec.containers[name="app"].image
}

// Apply sets the fields of object by server-side apply, and returns the object as the API stored it. Fields that an
// earlier Apply set and this one leaves out are removed by the API. Object should carry the resource version that it was
// made for: then nothing is made anew, and an object that was changed since is a [ErrConflict].
//
// That others have set a field to something else is a [ErrConflict] too, of which [FieldConflicts] tells more.
func (c *Cluster) Apply(
	ctx context.Context, r Resource, namespace string, object *unstructured.Unstructured, options ApplyOptions,
) (*unstructured.Unstructured, error) {
	var stored *unstructured.Unstructured
	doing := fmt.Sprintf("writing %s", quoted(r, namespace, object.GetName()))
	with := metav1.ApplyOptions{FieldManager: Manager, Force: options.Force}
	if options.DryRun {
		doing, with.DryRun = "trying "+doing, []string{metav1.DryRunAll}
	}
	err := c.repeat(ctx, doing, func(ctx context.Context) (err error) {
		stored, err = c.at(c.client, r, namespace).Apply(ctx, object.GetName(), object, with)
		return err
	})
	return stored, err
}

// ApplyOptions say how [Cluster.Apply] is done. The default is neither.
type ApplyOptions struct {
	Force  bool // take the fields over that others have set
	DryRun bool // have the API check everything, and store nothing
}

// FieldConflicts returns the fields for which [Cluster.Apply] was refused; none for another error.
func FieldConflicts(err error) []FieldConflict {
	status := apierrors.APIStatus(nil)
	if !errors.As(err, &status) || status.Status().Details == nil {
		return nil
	}
	var found []FieldConflict
	for _, cause := range status.Status().Details.Causes {
		if cause.Type != metav1.CauseTypeFieldManagerConflict {
			continue
		}
		conflict := FieldConflict{Field: cause.Field}
		if match := conflictWith.FindStringSubmatch(cause.Message); match != nil {
			conflict.Manager, _ = strconv.Unquote(match[1])
		}
		found = append(found, conflict)
	}
	return found
}

// conflictWith is how the API words a cause (apimachinery, pkg/util/managedfields/internal/conflict.go).
var conflictWith = regexp.MustCompile(`^conflict with ("(?:[^"\\]|\\.)*")`)
