// Package fakecluster is a small cluster in process for tests of the steps: image streams that import at once from a
// table, Deployments that roll out at once, and knobs for what can go wrong. The recordings of a real image API are
// replayed elsewhere, against the API of the demo; this one is for faults that need a line to set up.
package fakecluster

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
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
	Labels   map[string]string
	Created  string // RFC 3339; may be empty
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
