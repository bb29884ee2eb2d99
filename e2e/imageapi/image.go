package imageapi

import (
	"maps"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// emptyImage is what a tag shows that has no image yet.
func emptyImage() map[string]any {
	return map[string]any{
		"metadata": map[string]any{}, "dockerImageMetadataVersion": "1.0",
		"dockerImageMetadata": map[string]any{
			"kind": "DockerImage", "apiVersion": "image.openshift.io/1.0", "Id": "", "Created": nil,
			"ContainerConfig": map[string]any{},
		},
	}
}

// imageView shows the image of a tag event, under the reference of that event.
func (s *Server) imageView(event *tagEvent) map[string]any {
	stored, err := s.store.get(images, "", event.Image)
	if err != nil {
		view := emptyImage()
		put(view, event.Image, "metadata", "name")
		put(view, event.DockerImageReference, "dockerImageReference")
		return view
	}
	view := stored.DeepCopy().Object
	delete(view, "kind")
	delete(view, "apiVersion")
	put(view, event.DockerImageReference, "dockerImageReference")
	return view
}

// keepImage stores an image that was imported, unless the cluster knows it already, and returns the stored one.
func (s *Server) keepImage(image map[string]any) map[string]any {
	created, err := s.store.create(images, &unstructured.Unstructured{Object: image})
	if apierrors.IsAlreadyExists(err) {
		created, err = s.store.get(images, "", text(image, "metadata", "name"))
	}
	if err != nil {
		return image
	}
	return created.Object
}

// describeImage makes the Image of a manifest and its configuration file, both as they lie in the registry.
func describeImage(reference, digest, mediaType string, manifest, config []byte) (map[string]any, error) {
	var layout struct {
		Config struct {
			Digest string `json:"digest"`
			Size   int64  `json:"size"`
		} `json:"config"`
		Layers []struct {
			Digest    string `json:"digest"`
			Size      int64  `json:"size"`
			MediaType string `json:"mediaType"`
		} `json:"layers"`
	}
	if err := json.Unmarshal(manifest, &layout); err != nil {
		return nil, err
	}
	var file map[string]any
	if err := json.Unmarshal(config, &file); err != nil {
		return nil, err
	}
	size, layers := layout.Config.Size, []any{}
	for _, layer := range layout.Layers {
		size += layer.Size
		layers = append(layers, map[string]any{"name": layer.Digest, "size": layer.Size, "mediaType": layer.MediaType})
	}
	metadata := map[string]any{
		"kind": "DockerImage", "apiVersion": "image.openshift.io/1.0", "Id": layout.Config.Digest,
		"Created": nil, "Size": size, "ContainerConfig": containerConfig(file["container_config"]),
	}
	if created, err := time.Parse(time.RFC3339Nano, text(file, "created")); err == nil {
		metadata["Created"] = created.UTC().Format(time.RFC3339)
	}
	if run, ok := file["config"].(map[string]any); ok {
		metadata["Config"] = containerConfig(run)
	}
	for from, to := range map[string]string{
		"parent": "Parent", "comment": "Comment", "container": "Container", "docker_version": "DockerVersion",
		"author": "Author", "architecture": "Architecture",
	} {
		if value := text(file, from); value != "" {
			metadata[to] = value
		}
	}
	return map[string]any{
		"metadata": map[string]any{
			"name": digest, "annotations": map[string]any{"image.openshift.io/dockerLayersOrder": "ascending"},
		},
		"dockerImageReference": reference, "dockerImageMetadata": metadata, "dockerImageMetadataVersion": "1.0",
		"dockerImageLayers": layers, "dockerImageManifestMediaType": mediaType,
	}, nil
}

// containerConfig leaves out of a container's configuration what is empty, as the image API does.
func containerConfig(value any) map[string]any {
	config, _ := value.(map[string]any)
	kept := maps.Clone(config)
	maps.DeleteFunc(kept, func(_ string, value any) bool {
		switch value := value.(type) {
		case string:
			return value == ""
		case bool:
			return !value
		case []any:
			return len(value) == 0
		case map[string]any:
			return len(value) == 0
		}
		return value == nil
	})
	if kept == nil {
		return map[string]any{}
	}
	return kept
}

// child is one manifest of an index.
type child struct {
	digest, mediaType, architecture, os string
	size                                int64
}

// describeIndex makes the Image of an index whose import mode is PreserveOriginal.
func describeIndex(reference, digest, mediaType string, children []child) map[string]any {
	list := []any{}
	for _, one := range children {
		list = append(list, map[string]any{
			"digest": one.digest, "mediaType": one.mediaType, "manifestSize": one.size,
			"architecture": one.architecture, "os": one.os,
		})
	}
	return map[string]any{
		"metadata":             map[string]any{"name": digest},
		"dockerImageReference": reference,
		"dockerImageMetadata": map[string]any{
			"kind": "DockerImage", "apiVersion": "image.openshift.io/1.0", "Id": digest,
			"Created": metav1.Now().UTC().Format(time.RFC3339), "ContainerConfig": map[string]any{},
		},
		"dockerImageMetadataVersion": "1.0", "dockerImageManifestMediaType": mediaType, "dockerImageManifests": list,
	}
}
