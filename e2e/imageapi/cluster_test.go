package imageapi_test

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"dockline/e2e/imageapi"
)

// world is a cluster beside a registry that holds deepsky/hello:1.0 and :1.1.
type world struct {
	*imageapi.Server
	t        *testing.T
	url      string
	image    string            // HOST/deepsky/hello
	digests  map[string]string // by version
	registry *httptest.Server
}

func newWorld(t *testing.T, options imageapi.Options) *world {
	t.Helper()
	return newWorldWith(t, func(string) imageapi.Options { return options })
}

// newWorldWith is for options that name the registry (HOST:PORT).
func newWorldWith(t *testing.T, optionsFor func(registry string) imageapi.Options) *world {
	t.Helper()
	registry := httptest.NewServer(ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0))))
	options := optionsFor(strings.TrimPrefix(registry.URL, "http://"))
	options.Namespaces = append(options.Namespaces, "dev")
	options.Users = append(options.Users, imageapi.User{Token: "admin", Name: "admin", Rules: imageapi.Admin})
	cluster := imageapi.New(options)
	server := httptest.NewServer(cluster)
	t.Cleanup(func() { cluster.Close(); server.Close(); registry.Close() })
	w := &world{
		Server: cluster, t: t, url: server.URL, image: strings.TrimPrefix(registry.URL, "http://") + "/deepsky/hello",
		digests: map[string]string{}, registry: registry,
	}
	for _, version := range []string{"1.0", "1.1"} {
		w.push(version, version)
	}
	return w
}

// push puts an image whose content is named after what under a version.
func (w *world) push(version, what string) {
	w.t.Helper()
	config := []byte(fmt.Sprintf(`{"architecture":"amd64","os":"linux","config":{"Env":["V=%s"]},`+
		`"rootfs":{"type":"layers","diff_ids":["%s"]}}`, what, digestOf(layer)))
	w.digests[version] = putImage(w.t, w.registry.URL, "deepsky/hello", version, config)
}

// tag points hello:dev at a version, as `oc tag --insecure` does, and waits until it is imported.
func (w *world) tag(version string) {
	w.t.Helper()
	w.write(version, `"insecure":true`)
	w.until("hello:dev is at "+version, func() bool { return w.head() == w.digests[version] })
}

func (w *world) write(version, policy string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"metadata":{"name":"hello:dev"},"tag":{"name":"dev","generation":0,"from":{"kind":"DockerImage",`+
		`"name":"%s:%s"},"importPolicy":{%s}}}`, w.image, version, policy)
	if status, answer := send(w.t, "PUT", w.url+devTags+"/hello:dev", "application/json", body, ""); status > 201 {
		w.t.Fatalf("writing the tag was answered %d: %v", status, answer)
	}
}

const devTags = "/apis/image.openshift.io/v1/namespaces/dev/imagestreamtags"

// head returns the digest that hello:dev is at, or "".
func (w *world) head() string {
	items := list(w.object("imagestreams", "hello"), "status", "tags", "items")
	if len(items) == 0 {
		return ""
	}
	return items[0]["image"].(string)
}

// object returns a stored object of the namespace, or an empty one.
func (w *world) object(plural, name string) map[string]any {
	object, err := w.Get(plural, "dev", name)
	if err != nil {
		return map[string]any{}
	}
	return object
}

// until waits for a condition.
func (w *world) until(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(15 * time.Second); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("after 15 s it is still not so that %s", what)
		}
	}
}

// list returns the objects at a path, through the first element of every list on the way.
func list(object map[string]any, path ...string) []map[string]any {
	for i, name := range path {
		values, isList := object[name].([]any)
		if !isList {
			object, _ = object[name].(map[string]any)
			continue
		}
		var found []map[string]any
		for _, one := range values {
			found = append(found, one.(map[string]any))
		}
		if i == len(path)-1 || len(found) == 0 {
			return found
		}
		object = found[0]
	}
	return nil
}

// condition returns STATUS REASON of one condition of an object, or "".
func condition(object map[string]any, kind string) string {
	for _, one := range list(object, "status", "conditions") {
		if one["type"] == kind {
			return fmt.Sprint(one["status"], " ", one["reason"])
		}
	}
	return ""
}
