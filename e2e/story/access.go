package story

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/gitserver"
)

// What another story needs that is told in the same world.

// Git is how the service's repository is cloned.
type Git struct{ URL, Username, Password string }

// Git returns how the service's repository is cloned.
func (w *World) Git() Git { return Git{w.gitURL, gitUser, w.gitPassword} }

// Commit writes the service, version → what its page says, as the next commit of develop, and returns the commit.
func (w *World) Commit(message string, pages map[string]string) (string, error) {
	return w.commit(message, pages)
}

// Tag gives a commit of the service's repository a Git tag.
func (w *World) Tag(name, commit string) error {
	return gitserver.Tag(w.repository(), name, commit, "Release "+name)
}

// Push writes an image, NAME:VERSION, to the registry.
func (r *Registry) Push(ctx context.Context, image string, content v1.Image) error {
	return r.push(ctx, image, content)
}

// Images are the digests of all that the registry has a tag for, by REPOSITORY:TAG.
func (r *Registry) Images(ctx context.Context) (map[string]string, error) {
	host, err := name.NewRegistry(r.Host)
	if err != nil {
		return nil, err
	}
	repositories, err := remote.Catalog(ctx, host, r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for _, repository := range repositories {
		tags, err := remote.List(host.Repo(repository), r.options(ctx)...)
		if err != nil {
			return nil, err
		}
		for _, tag := range tags {
			manifest, err := remote.Head(host.Repo(repository).Tag(tag), r.options(ctx)...)
			if err != nil {
				return nil, err
			}
			found[repository+":"+tag] = manifest.Digest.String()
		}
	}
	return found, nil
}

// Objects are the namespace's image streams and what is deployed there, each as the cluster tells it, by KIND/NAME.
func (e *Environment) Objects(ctx context.Context) (map[string]any, error) {
	found := map[string]any{}
	for _, path := range []string{
		"/apis/image.openshift.io/v1/namespaces/" + e.Namespace + "/imagestreams",
		"/apis/apps/v1/namespaces/" + e.Namespace + "/deployments",
		"/api/v1/namespaces/" + e.Namespace + "/services",
		"/apis/route.openshift.io/v1/namespaces/" + e.Namespace + "/routes",
	} {
		text, err := ask(ctx, e.client, http.MethodGet, e.API+path, e.admin, nil, http.StatusOK)
		if err != nil {
			return nil, err
		}
		var list struct{ Items []map[string]any }
		if err := json.Unmarshal(text, &list); err != nil {
			return nil, err
		}
		for _, object := range list.Items {
			named := object["metadata"].(map[string]any)["name"].(string) //nolint:errcheck,forcetypeassert // as every object has it
			found[path[strings.LastIndexByte(path, '/')+1:]+"/"+named] = object
		}
	}
	return found, nil
}

// Means tells what the environment's tag was pointed at, and the digest that it means.
func (e *Environment) Means(ctx context.Context) (from, digest string, err error) {
	tag, err := e.stream(ctx)
	return tag.from(), tag.digest(), err
}

// History are the digests that the environment's tag has meant, the latest first.
func (e *Environment) History(ctx context.Context) ([]string, error) {
	tag, err := e.stream(ctx)
	return tag.History, err
}

// Runs is an error unless every pod of the service runs an image, and at least one is there.
func (e *Environment) Runs(ctx context.Context, digest string) error {
	return e.pods("", &digest).Holds(ctx)
}
