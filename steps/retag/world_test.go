package retag_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
	"dockline/e2e/imageapi"
)

// world is a cluster that judges what its users may do, beside a registry.
type world struct {
	*imageapi.Server
	url      string
	registry *faultyregistry.Registry
	requests func() []string // METHOD PATH of what all but the admin asked so far
}

// everything is what retag uses, all but to create the parts of an app.
var everything = []imageapi.Rule{
	{Namespaces: []string{"dev"}, Resources: []string{"imagestreams"}, Verbs: []string{"get", "watch"}},
	{Namespaces: []string{"dev"}, Resources: []string{"imagestreamtags"}, Verbs: []string{"create", "update"}},
	{Namespaces: []string{"dev"}, Resources: []string{"imagestreamimports"}, Verbs: []string{"create"}},
	{Namespaces: []string{"dev"}, Resources: []string{"imagestreamimages"}, Verbs: []string{"get"}},
	{
		Namespaces: []string{"dev"}, Verbs: []string{"list"},
		Resources: []string{"deployments", "deploymentconfigs", "statefulsets", "daemonsets", "cronjobs", "pods"},
	},
}

func newWorld(t *testing.T, rules []imageapi.Rule) *world {
	t.Helper()
	api := imageapi.New(imageapi.Options{Namespaces: []string{"dev"}, Users: []imageapi.User{
		{Name: "system:serviceaccount:dev:deployer", Token: "good", Rules: rules},
		{Name: "admin", Token: "admin", Rules: imageapi.Admin},
	}})
	asked := make(chan []string, 1)
	asked <- nil
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer admin" {
			asked <- append(<-asked, r.Method+" "+r.URL.Path)
		}
		api.ServeHTTP(w, r)
	}))
	t.Cleanup(func() { server.CloseClientConnections(); server.Close(); api.Close() })
	return &world{Server: api, url: server.URL, registry: faultyregistry.Start(t), requests: func() []string {
		all := <-asked
		asked <- all
		return all
	}}
}

// push writes a new image under a version of deepsky/hello.
func (w *world) push(t *testing.T, version string) (digest string) {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(w.registry.Host()+"/deepsky/hello:"+version, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	hash, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// retag runs the step to its end.
func (w *world) retag(t *testing.T, settings ...string) outcome {
	t.Helper()
	return runAt(t, w.url, append([]string{
		"TIMEOUT=20s", "REGISTRY=" + w.registry.Host(), "REGISTRY_INSECURE=true",
	}, settings...)...)
}
