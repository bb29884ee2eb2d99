package cluster

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/watch"
)

// Await calls check with each state of one object, the present one first, until it returns true or an error, or ctx
// ends. It watches; a watch that is dropped is begun anew, and where watching is not allowed the object is read every
// Patience.Poll. An object that goes away is an error of kind fault.NotFound.
func (c *Cluster) Await(
	ctx context.Context, r Resource, namespace, name string, check func(*unstructured.Unstructured) (bool, error),
) error {
	doing := fmt.Sprintf("waiting for %s", quoted(r, namespace, name))
	for {
		object, err := c.Get(ctx, r, namespace, name)
		if err != nil {
			return err
		}
		if done, err := check(object); done || err != nil {
			return err
		}
		started := time.Now()
		if done, err := c.follow(ctx, r, namespace, object, check); done || err != nil {
			return err
		}
		if ctx.Err() == nil {
			// A watch that is refused or dropped at once must not become a busy loop.
			_ = Sleep(ctx, c.patience.Poll-time.Since(started))
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", doing, Ended(ctx))
		}
	}
}

// follow watches from the state of object on. It returns false and no error when the watch ends or cannot be had.
func (c *Cluster) follow(
	ctx context.Context, r Resource, namespace string, object *unstructured.Unstructured,
	check func(*unstructured.Unstructured) (bool, error),
) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, longestWatch)
	defer cancel()
	seconds := int64(longestWatch / time.Second)
	watcher, err := c.at(c.watcher, r, namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector:   fields.OneTermEqualSelector("metadata.name", object.GetName()).String(),
		ResourceVersion: object.GetResourceVersion(),
		TimeoutSeconds:  &seconds,
	})
	if err != nil {
		return false, nil //nolint:nilerr // the next Get tells what is wrong, or all is well and polling goes on
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return false, nil
		case event, open := <-watcher.ResultChan():
			if !open || (event.Type != watch.Added && event.Type != watch.Modified) {
				return false, nil
			}
			state, ok := event.Object.(*unstructured.Unstructured)
			if !ok || state.GetName() != object.GetName() {
				continue
			}
			if done, err := check(state); done || err != nil {
				return done, err
			}
		}
	}
}

// longestWatch bounds one watch. A connection that died silently, as behind some load balancers, costs this much at
// most: the object is then read anew.
const longestWatch = 20 * time.Second
