package imageapi

import (
	"context"
	"net/http"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// surroundings are what the image API needs of the cluster around it: the rest of this server, or a real Kubernetes.
type surroundings interface {
	// authenticate tells who asks, or answers 401.
	authenticate(r *http.Request) (User, error)
	// authorize answers 403, in the usual words, unless the user may.
	authorize(ctx context.Context, user User, verb string, resource resource, namespace, name string) error
	// checkNamespace answers 404 for a namespace that is not there.
	checkNamespace(ctx context.Context, name string) error
	// secrets returns those of a namespace, which must not be changed.
	secrets(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error)
	// workloads returns those of a resource in all namespaces, which must not be changed.
	workloads(r resource) []*unstructured.Unstructured
	// updateWorkload writes a workload as it was changed, or answers 409 when somebody else wrote it meanwhile.
	updateWorkload(ctx context.Context, r resource, object *unstructured.Unstructured) error
	// serves tells whether a resource is served here.
	serves(r resource) bool
}

// ownCluster is this server with all that it holds.
type ownCluster struct{ *Server }

func (c ownCluster) authenticate(r *http.Request) (User, error) { return c.access.authenticate(r) }

func (c ownCluster) authorize(_ context.Context, user User, verb string, resource resource, namespace, name string) error {
	return c.access.authorize(user, verb, resource, namespace, name)
}

func (c ownCluster) checkNamespace(_ context.Context, name string) error {
	_, err := c.store.get(namespaces, "", name)
	return err
}

func (c ownCluster) secrets(_ context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	found, _ := c.store.list(secrets, namespace)
	return found, nil
}

func (c ownCluster) workloads(r resource) []*unstructured.Unstructured {
	found, _ := c.store.list(r, "")
	return found
}

func (c ownCluster) updateWorkload(_ context.Context, r resource, object *unstructured.Unstructured) error {
	_, err := c.update(request{resource: r, namespace: object.GetNamespace(), name: object.GetName()}, object)
	return err
}

func (ownCluster) serves(resource) bool { return true }
