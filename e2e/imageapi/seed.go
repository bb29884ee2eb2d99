package imageapi

import (
	"encoding/base64"
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// AddNamespace makes a namespace; one that is there stays.
func (s *Server) AddNamespace(name string) {
	_, _ = s.Create("namespaces", map[string]any{"metadata": map[string]any{"name": name}})
}

// AddPullSecret makes a secret of type kubernetes.io/dockerconfigjson with one account for a registry (HOST[:PORT], or
// with a path), which imports and pods of the namespace then use.
func (s *Server) AddPullSecret(namespace, name, registry, username, password string) error {
	file, err := json.Marshal(map[string]any{"auths": map[string]any{
		registry: map[string]any{"username": username, "password": password},
	}})
	if err != nil {
		return err
	}
	_, err = s.Create("secrets", map[string]any{
		"metadata": map[string]any{"name": name, "namespace": namespace},
		"type":     "kubernetes.io/dockerconfigjson",
		"data":     map[string]any{".dockerconfigjson": base64.StdEncoding.EncodeToString(file)},
	})
	return err
}

// Create stores an object as a client's POST would, whoever may. Plural names its resource, such as "deployments".
func (s *Server) Create(plural string, object map[string]any) (map[string]any, error) {
	copied := &unstructured.Unstructured{Object: toMap(object)}
	created, err := s.create(resourceOf(plural), copied)
	if err != nil {
		return nil, err
	}
	return created.DeepCopy().Object, nil
}

// Get returns a copy of a stored object; namespace is empty for namespaces and images.
func (s *Server) Get(plural, namespace, name string) (map[string]any, error) {
	object, err := s.store.get(resourceOf(plural), namespace, name)
	if err != nil {
		return nil, err
	}
	return object.DeepCopy().Object, nil
}

// List returns copies of the stored objects of a namespace; an empty one means all.
func (s *Server) List(plural, namespace string) []map[string]any {
	found, _ := s.store.list(resourceOf(plural), namespace)
	var list []map[string]any
	for _, object := range found {
		list = append(list, object.DeepCopy().Object)
	}
	return list
}

// Replace stores an object as it is given, status included, over the one that is there: for states that no controller
// here would bring about, such as those of kinds that others run. The generation is the caller's.
func (s *Server) Replace(plural string, object map[string]any) error {
	replaced := &unstructured.Unstructured{Object: toMap(object)}
	replaced.SetResourceVersion("")
	_, err := s.store.update(resourceOf(plural), replaced)
	return err
}

// Delete removes an object.
func (s *Server) Delete(plural, namespace, name string) error {
	_, err := s.store.delete(resourceOf(plural), namespace, name)
	return err
}

// resourceOf panics for an unknown plural, which only a test's typing mistake can be.
func resourceOf(plural string) resource {
	for _, one := range resources {
		if one.plural == plural {
			return one
		}
	}
	panic("imageapi: no resource " + plural)
}

// Deployment is what `oc new-app -i STREAM:TAG --name=NAME` makes: one container that follows a stream tag of its
// namespace, with a blank for an image until the trigger controller knows better. Create takes it.
func Deployment(namespace, name, streamTag string) map[string]any {
	stream, _, _ := strings.Cut(streamTag, ":")
	labels := map[string]any{"deployment": name}
	trigger, _ := json.Marshal([]any{map[string]any{ // maps of strings cannot fail
		"from":      map[string]any{"kind": "ImageStreamTag", "name": streamTag, "namespace": namespace},
		"fieldPath": `spec.template.spec.containers[?(@.name=="` + stream + `")].image`,
	}})
	return map[string]any{
		"metadata": map[string]any{
			"name": name, "namespace": namespace, "labels": map[string]any{"app": name},
			"annotations": map[string]any{"image.openshift.io/triggers": string(trigger)},
		},
		"spec": map[string]any{
			"replicas": 1, "selector": map[string]any{"matchLabels": labels},
			"template": map[string]any{
				"metadata": map[string]any{"labels": labels},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": stream, "image": " ", "ports": []any{map[string]any{"containerPort": 8080}},
				}}},
			},
		},
	}
}
