package fakecluster

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

func (i Image) object() Object {
	manifests := []any{}
	for _, child := range i.Children {
		manifests = append(manifests, Object{"digest": child})
	}
	return Object{"metadata": Object{"name": i.Digest}, "dockerImageManifests": manifests,
		"dockerImageMetadata": Object{"Created": i.Created, "Config": Object{"Labels": i.Labels, "ExposedPorts": Object{"8080/tcp": Object{}}}}}
}

func (c *Cluster) importDry(w http.ResponseWriter, body Object) {
	spec := body["spec"].(Object)["images"].([]any)[0].(Object)
	reference, _ := spec["from"].(Object)["name"].(string)
	image, found := c.images[reference]
	if !found {
		image = Image{Reason: "NotFound", Message: `dockerimage.image.openshift.io "` + reference + `" not found`}
	}
	entry := Object{"status": Object{"status": "Success"}, "image": image.object()}
	if image.Reason != "" {
		entry = Object{"status": Object{"status": "Failure", "reason": image.Reason, "message": image.Message}}
	}
	body["status"] = Object{"images": []any{entry}}
	answer(w, 201, body)
}

func (c *Cluster) putTag(w http.ResponseWriter, method string, body Object) {
	if change := c.write; change != nil {
		c.write = nil
		change(c)
	}
	metadata := body["metadata"].(Object)
	full, _ := metadata["name"].(string)
	stream, tag, _ := strings.Cut(full, ":")
	existing := c.objects["imagestreams/"+stream]
	sent, _ := metadata["resourceVersion"].(string)
	switch {
	case method == http.MethodPut && existing == nil:
		failure(w, 404, "NotFound", `imagestreamtags.image.openshift.io "`+full+`" not found`)
		return
	case method == http.MethodPut && existing["metadata"].(Object)["resourceVersion"] != sent:
		failure(w, 409, "Conflict", "another caller has updated the resource version")
		return
	case method == http.MethodPost && existing != nil && c.spec(existing, tag) != nil:
		failure(w, 409, "AlreadyExists", `imagestreamtag.image.openshift.io "`+full+`" already exists`)
		return
	}
	spec := clone(body["tag"].(Object))
	if method == http.MethodPut {
		spec["annotations"] = metadata["annotations"]
	}
	c.writes++
	c.setTag(stream, tag, spec)
	if c.lose {
		c.lose = false
		panic(http.ErrAbortHandler)
	}
	answer(w, 200, Object{"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamTag",
		"metadata": Object{"name": full, "namespace": "dev"}, "tag": c.spec(c.objects["imagestreams/"+stream], tag)})
}

func (c *Cluster) spec(stream Object, tag string) Object {
	return named(list(stream, "spec"), "name", tag)
}

// setTag writes a tag's spec and imports it.
func (c *Cluster) setTag(stream, tag string, spec Object) {
	object := clone(c.objects["imagestreams/"+stream])
	if object == nil {
		object = Object{"metadata": Object{"creationTimestamp": time.Now().UTC().Format(time.RFC3339)},
			"spec": Object{"tags": []any{}}, "status": Object{"tags": []any{}}}
	}
	generation := c.version + 2
	spec = clone(spec)
	spec["name"], spec["generation"] = tag, generation
	specs := slices.DeleteFunc(list(object, "spec"), func(e any) bool { return e.(Object)["name"] == tag })
	object["spec"] = Object{"tags": append(specs, spec)}
	if !c.stuck {
		c.importTag(object, stream, tag, spec, generation)
	}
	c.store("imagestreams", stream, object)
	c.version = max(c.version, generation)
	c.roll()
}

func (c *Cluster) importTag(object Object, stream, tag string, spec Object, generation int64) {
	status := named(list(object, "status"), "tag", tag)
	if status == nil {
		status = Object{"tag": tag}
	}
	from := spec["from"].(Object)
	reference, _ := from["name"].(string)
	image, found := c.images[reference], false
	if _, found = c.images[reference]; !found {
		image = Image{Reason: "NotFound", Message: "not found"}
	}
	if from["kind"] == "ImageStreamImage" {
		_, digest, _ := strings.Cut(reference, "@")
		image = Image{Digest: digest}
	} else if c.altered != "" {
		image = Image{Digest: c.altered}
	}
	delete(status, "conditions")
	now := time.Now().UTC().Format(time.RFC3339)
	repository := reference
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository = repository[:colon]
	}
	items, _ := status["items"].([]any)
	for _, item := range items {
		if from["kind"] == "ImageStreamImage" && item.(Object)["image"] == image.Digest {
			repository, _, _ = strings.Cut(item.(Object)["dockerImageReference"].(string), "@")
		}
	}
	policy, _ := spec["importPolicy"].(Object)
	switch digest := image.Digest; {
	case image.Reason != "":
		status["conditions"] = []any{Object{"type": "ImportSuccess", "status": "False", "reason": image.Reason,
			"message": image.Message, "generation": generation, "lastTransitionTime": now}}
	default:
		if len(image.Children) > 0 && policy["importMode"] != "PreserveOriginal" {
			digest = image.Children[0]
		}
		if len(items) > 0 && items[0].(Object)["image"] == digest {
			items[0].(Object)["generation"] = generation
		} else {
			items = append([]any{Object{"created": now, "image": digest, "generation": generation,
				"dockerImageReference": repository + "@" + digest}}, items...)
		}
		status["items"] = items
	}
	rest := slices.DeleteFunc(list(object, "status"), func(e any) bool { return e.(Object)["tag"] == tag })
	object["status"] = Object{"tags": append(rest, status)}
}
