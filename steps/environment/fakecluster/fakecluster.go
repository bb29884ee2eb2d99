// Package fakecluster is a small cluster in process for tests of the steps: image streams that import at once from a
// table, Deployments that roll out at once, and knobs for what can go wrong. The recordings of a real image API are
// replayed elsewhere, against the API of the demo; this one is for faults that need a line to set up.
package fakecluster

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// Object is an API object.
type Object = map[string]any

// Cluster is one namespace "dev" of a cluster that accepts the token "good".
type Cluster struct {
	URL string

	mu       sync.Mutex
	version  int64
	objects  map[string]Object // "PLURAL/NAME"
	images   map[string]Image  // by reference
	fail     func(method, path string) (status int, reason, message string)
	write    func(c *Cluster) // called once before the next write of a tag
	altered  string           // digest that the next imports give instead
	stuck    bool             // imports never finish
	noFollow bool             // triggers do nothing
	trouble  string           // waiting reason of new pods
	lose     bool             // the next write's answer is lost
	writes   int
}

// Image is what the cluster finds under a reference.
type Image struct {
	Digest   string
	Children []string
	Reason   string // of a failure, with Message
	Message  string
}

// New starts a cluster that ends with the test.
func New(t testing.TB) *Cluster {
	c := &Cluster{objects: map[string]Object{}, images: map[string]Image{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

func (c *Cluster) with(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// Image puts an image into the cluster's registry.
func (c *Cluster) Image(reference string, image Image) {
	c.with(func() { c.images[reference] = image })
}

// Fail has every request for which f gives a status other than 0 answered by it.
func (c *Cluster) Fail(f func(method, path string) (status int, reason, message string)) {
	c.with(func() { c.fail = f })
}

// BeforeNextWrite calls f once, just before the next write of a tag is looked at.
func (c *Cluster) BeforeNextWrite(f func(*Cluster)) { c.with(func() { c.write = f }) }

// AlterImports makes imports give another digest than a dry import does.
func (c *Cluster) AlterImports(digest string) { c.with(func() { c.altered = digest }) }

// Stick makes imports last for ever.
func (c *Cluster) Stick() { c.with(func() { c.stuck = true }) }

// DropTriggers has tags move without any workload being told.
func (c *Cluster) DropTriggers() { c.with(func() { c.noFollow = true }) }

// TroublePods has new pods wait for this reason, such as ImagePullBackOff.
func (c *Cluster) TroublePods(reason string) { c.with(func() { c.trouble = reason }) }

// LoseNextAnswer makes the next write of a tag, and breaks the connection instead of answering.
func (c *Cluster) LoseNextAnswer() { c.with(func() { c.lose = true }) }

// Writes returns how many tags were written.
func (c *Cluster) Writes() (n int) { c.with(func() { n = c.writes }); return n }

// Put stores an object as it is.
func (c *Cluster) Put(plural, name string, object Object) {
	c.with(func() { c.store(plural, name, object) })
}

// Get returns a copy of an object, or nil.
func (c *Cluster) Get(plural, name string) (object Object) {
	c.with(func() { object = clone(c.objects[plural+"/"+name]) })
	return object
}

// Tag points a stream tag at a reference as somebody else would.
func (c *Cluster) Tag(stream, tag, reference string) {
	c.with(func() { c.tag(stream, tag, reference) })
}

// TagLocked is Tag for a function that BeforeNextWrite calls.
func (c *Cluster) TagLocked(stream, tag, reference string) { c.tag(stream, tag, reference) }

func (c *Cluster) tag(stream, tag, reference string) {
	c.setTag(stream, tag, Object{"from": Object{"kind": "DockerImage", "name": reference}})
}

// Follow makes a Deployment with an image trigger; paused is the JSON of its member, or "".
func (c *Cluster) Follow(name, streamTag, paused string) {
	extra := ""
	if paused != "" {
		extra = `,"paused":` + paused
	}
	c.with(func() {
		c.store("deployments", name, Object{
			"metadata": Object{"annotations": Object{"image.openshift.io/triggers": `[{"from":{"kind":"ImageStreamTag","name":"` +
				streamTag + `"},"fieldPath":"spec.template.spec.containers[?(@.name==\"app\")].image"` + extra + `}]`}},
			"spec": Object{
				"replicas": 1, "selector": Object{"matchLabels": Object{"app": name}},
				"template": Object{"spec": Object{"containers": []any{Object{"name": "app", "image": "none"}}}},
			},
		})
		c.roll()
	})
}

func (c *Cluster) store(plural, name string, object Object) Object {
	object = clone(object)
	c.version++
	metadata, _ := object["metadata"].(Object)
	if metadata == nil {
		metadata = Object{}
	}
	object["metadata"] = metadata
	metadata["name"], metadata["namespace"], metadata["resourceVersion"] = name, "dev", strconv.FormatInt(c.version, 10)
	kinds := map[string][2]string{
		"imagestreams": {"image.openshift.io/v1", "ImageStream"}, "deployments": {"apps/v1", "Deployment"},
		"pods": {"v1", "Pod"}, "services": {"v1", "Service"}, "routes": {"route.openshift.io/v1", "Route"},
	}
	object["apiVersion"], object["kind"] = kinds[plural][0], kinds[plural][1]
	c.objects[plural+"/"+name] = object
	return object
}

// ServeHTTP answers as the API does.
func (c *Cluster) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if c.fail != nil {
		if status, reason, message := c.fail(r.Method, r.URL.Path); status != 0 {
			failure(w, status, reason, message)
			return
		}
	}
	if r.Header.Get("Authorization") != "Bearer good" {
		failure(w, 401, "Unauthorized", "Unauthorized")
		return
	}
	_, rest, _ := strings.Cut(r.URL.Path, "/namespaces/")
	parts := strings.SplitN(rest, "/", 3)
	if len(parts) < 2 || parts[0] != "dev" && r.Method != http.MethodGet {
		failure(w, 404, "NotFound", `namespaces "`+parts[0]+`" not found`)
		return
	}
	plural, name := parts[1], ""
	if len(parts) == 3 {
		name = parts[2]
	}
	if parts[0] != "dev" {
		failure(w, 404, "NotFound", plural+` "`+name+`" not found`)
		return
	}
	var body Object
	_ = json.NewDecoder(r.Body).Decode(&body)
	c.serve(w, r, plural, name, body)
}

func (c *Cluster) serve(w http.ResponseWriter, r *http.Request, plural, name string, body Object) {
	switch {
	case r.URL.Query().Get("watch") != "":
		failure(w, 500, "InternalError", "watching is not possible here") // clients fall back to reading
	case plural == "imagestreamimports":
		c.importDry(w, body)
	case plural == "imagestreamtags":
		c.putTag(w, r.Method, body)
	case plural == "imagestreamimages":
		_, digest, _ := strings.Cut(name, "@")
		for _, image := range c.images {
			if image.Digest == digest {
				answer(w, 200, Object{"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamImage",
					"metadata": Object{"name": name}, "image": image.object()})
				return
			}
		}
		answer(w, 200, Object{"apiVersion": "image.openshift.io/v1", "kind": "ImageStreamImage",
			"metadata": Object{"name": name}, "image": Image{Digest: digest}.object()})
	case r.Method == http.MethodPost:
		name, _ = body["metadata"].(Object)["name"].(string)
		if c.objects[plural+"/"+name] != nil {
			failure(w, 409, "AlreadyExists", plural+` "`+name+`" already exists`)
			return
		}
		object := c.store(plural, name, body)
		c.roll()
		answer(w, 201, object)
	case name != "":
		if object := c.objects[plural+"/"+name]; object != nil {
			answer(w, 200, object)
			return
		}
		failure(w, 404, "NotFound", plural+` "`+name+`" not found`)
	default:
		items := []any{}
		for _, key := range slices.Sorted(maps.Keys(c.objects)) {
			if strings.HasPrefix(key, plural+"/") && selected(c.objects[key], r.URL.Query().Get("labelSelector")) {
				items = append(items, c.objects[key])
			}
		}
		answer(w, 200, Object{"apiVersion": "v1", "kind": "List", "metadata": Object{}, "items": items})
	}
}

func (i Image) object() Object {
	manifests := []any{}
	for _, child := range i.Children {
		manifests = append(manifests, Object{"digest": child})
	}
	return Object{"metadata": Object{"name": i.Digest}, "dockerImageManifests": manifests,
		"dockerImageMetadata": Object{"Config": Object{"ExposedPorts": Object{"8080/tcp": Object{}}}}}
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

// roll brings each Deployment with an unpaused trigger to its tag's image, with one pod.
func (c *Cluster) roll() {
	for key, deployment := range c.objects {
		if !strings.HasPrefix(key, "deployments/") {
			continue
		}
		metadata := deployment["metadata"].(Object)
		annotations, _ := metadata["annotations"].(Object)
		text, _ := annotations["image.openshift.io/triggers"].(string)
		var triggers []struct {
			From   struct{ Name string }
			Paused bool
		}
		if json.Unmarshal([]byte(text), &triggers) != nil || len(triggers) == 0 || triggers[0].Paused || c.noFollow {
			continue
		}
		stream, tag, _ := strings.Cut(triggers[0].From.Name, ":")
		items, _ := named(list(c.objects["imagestreams/"+stream], "status"), "tag", tag)["items"].([]any)
		if len(items) == 0 {
			continue
		}
		reference, _ := items[0].(Object)["dockerImageReference"].(string)
		container := deployment["spec"].(Object)["template"].(Object)["spec"].(Object)["containers"].([]any)[0].(Object)
		container["image"] = reference
		ready := c.trouble == ""
		available := 0
		state := Object{"waiting": Object{"reason": c.trouble, "message": "something is wrong"}}
		imageID := ""
		if ready {
			available, state, imageID = 1, Object{"running": Object{}}, reference
		}
		deployment["status"] = Object{"replicas": 1, "updatedReplicas": 1, "availableReplicas": available, "observedGeneration": 0}
		name := metadata["name"].(string)
		labels := deployment["spec"].(Object)["selector"].(Object)["matchLabels"]
		c.store("pods", name+"-1", Object{
			"metadata": Object{"labels": labels},
			"spec":     Object{"containers": []any{Object{"name": container["name"], "image": reference}}},
			"status": Object{"phase": "Running",
				"conditions":        []any{Object{"type": "Ready", "status": map[bool]string{true: "True", false: "False"}[ready]}},
				"containerStatuses": []any{Object{"name": container["name"], "imageID": imageID, "ready": ready, "state": state}}},
		})
	}
}

func selected(object Object, selector string) bool {
	if selector == "" {
		return true
	}
	key, value, _ := strings.Cut(selector, "=")
	labels, _ := object["metadata"].(Object)["labels"].(Object)
	return labels[key] == value
}

func list(object Object, half string) []any {
	fields, _ := object[half].(Object)
	entries, _ := fields["tags"].([]any)
	return entries
}

func named(entries []any, key, value string) Object {
	for _, entry := range entries {
		if entry.(Object)[key] == value {
			return entry.(Object)
		}
	}
	return nil
}

// clone also makes of every number what decoding JSON does.
func clone(object Object) Object {
	if object == nil {
		return nil
	}
	text, err := json.Marshal(object)
	if err != nil {
		panic(fmt.Sprintf("fakecluster: %v", err))
	}
	var copied Object
	_ = json.Unmarshal(text, &copied)
	return copied
}

func answer(w http.ResponseWriter, status int, object Object) {
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(object)
}

func failure(w http.ResponseWriter, status int, reason, message string) {
	answer(w, status, Object{"apiVersion": "v1", "kind": "Status", "metadata": Object{}, "status": "Failure",
		"reason": reason, "message": message, "code": status})
}
