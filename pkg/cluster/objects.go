package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

// Resource is a kind of object: its group, version and plural name.
type Resource struct{ Group, Version, Plural, Kind string }

// String returns "plural.group", as in the API's own messages.
func (r Resource) String() string { return strings.TrimSuffix(r.Plural+"."+r.Group, ".") }

// APIVersion returns GROUP/VERSION as objects carry it.
func (r Resource) APIVersion() string { return strings.TrimPrefix(r.Group+"/"+r.Version, "/") }

// Get reads one object.
func (c *Cluster) Get(ctx context.Context, r Resource, namespace, name string) (*unstructured.Unstructured, error) {
	var object *unstructured.Unstructured
	err := c.repeat(ctx, fmt.Sprintf("reading %s", quoted(r, namespace, name)), func(ctx context.Context) (err error) {
		object, err = c.at(c.client, r, namespace).Get(ctx, name, metav1.GetOptions{})
		return err
	})
	return object, err
}

// List reads all objects of the namespace that match the label selector; an empty one matches all.
func (c *Cluster) List(ctx context.Context, r Resource, namespace, selector string) ([]unstructured.Unstructured, error) {
	var list *unstructured.UnstructuredList
	err := c.repeat(ctx, fmt.Sprintf("listing %s in the namespace %q", r, namespace), func(ctx context.Context) (err error) {
		list, err = c.at(c.client, r, namespace).List(ctx, metav1.ListOptions{LabelSelector: selector})
		return err
	})
	if err != nil {
		return nil, err
	}
	return list.Items, nil
}

// Create makes an object and returns it as the API stored it. That it exists already is a [ErrConflict].
func (c *Cluster) Create(
	ctx context.Context, r Resource, namespace string, object *unstructured.Unstructured,
) (*unstructured.Unstructured, error) {
	var stored *unstructured.Unstructured
	doing := fmt.Sprintf("creating %s", quoted(r, namespace, object.GetName()))
	err := c.repeat(ctx, doing, func(ctx context.Context) (err error) {
		stored, err = c.at(c.client, r, namespace).Create(ctx, object, metav1.CreateOptions{})
		return err
	})
	return stored, err
}

// Update replaces an object and returns it as the API stored it. With a resource version in the object that is no
// longer the stored one's, the answer is a [ErrConflict].
func (c *Cluster) Update(
	ctx context.Context, r Resource, namespace string, object *unstructured.Unstructured,
) (*unstructured.Unstructured, error) {
	var stored *unstructured.Unstructured
	doing := fmt.Sprintf("writing %s", quoted(r, namespace, object.GetName()))
	err := c.repeat(ctx, doing, func(ctx context.Context) (err error) {
		stored, err = c.at(c.client, r, namespace).Update(ctx, object, metav1.UpdateOptions{})
		return err
	})
	return stored, err
}

func (c *Cluster) at(client dynamic.Interface, r Resource, namespace string) dynamic.ResourceInterface {
	return client.Resource(schema.GroupVersionResource{Group: r.Group, Version: r.Version, Resource: r.Plural}).
		Namespace(namespace)
}

func quoted(r Resource, namespace, name string) string {
	return fmt.Sprintf("%s %q in the namespace %q", r.Kind, name, namespace)
}

// Decode reads an object's fields into a struct with json tags.
func Decode(object *unstructured.Unstructured, into any) error {
	text, err := json.Marshal(object.Object)
	if err == nil {
		err = json.Unmarshal(text, into)
	}
	if err != nil {
		return fmt.Errorf("reading the fields of %s %q: %w", object.GetKind(), object.GetName(), err)
	}
	return nil
}
