package story

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// Registry is one of the story's registries. What it holds is read with another client than Dockline's.
type Registry struct {
	Host               string
	Username, Password string

	client *http.Client
}

// variables are those by which a step reaches the registry, without a side's prefix.
func (r *Registry) variables() with {
	return with{
		"REGISTRY": r.Host, "REGISTRY_USERNAME": r.Username, "REGISTRY_PASSWORD": r.Password, "REGISTRY_CA_FILE": caFile,
	}
}

func (r *Registry) options(ctx context.Context) []remote.Option {
	return []remote.Option{
		remote.WithContext(ctx), remote.WithTransport(r.client.Transport),
		remote.WithAuth(&authn.Basic{Username: r.Username, Password: r.Password}),
	}
}

func (r *Registry) push(ctx context.Context, image string, content v1.Image) error {
	reference, err := name.ParseReference(r.Host + "/" + image)
	if err != nil {
		return err
	}
	return remote.Write(reference, content, r.options(ctx)...)
}

func (r *Registry) tag(tag string) (name.Tag, error) {
	return name.NewTag(r.Host + "/" + ImageName + ":" + tag)
}

// Digest returns what the service's tag stands for, "" where it is not there.
func (r *Registry) Digest(ctx context.Context, tag string) (string, error) {
	reference, err := r.tag(tag)
	if err != nil {
		return "", err
	}
	found, err := remote.Get(reference, r.options(ctx)...)
	if refusal := (*transport.Error)(nil); errors.As(err, &refusal) && refusal.StatusCode == http.StatusNotFound {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	return found.Digest.String(), nil
}

// Tags lists the service's tags.
func (r *Registry) Tags(ctx context.Context) ([]string, error) {
	repository, err := name.NewRepository(r.Host + "/" + ImageName)
	if err != nil {
		return nil, err
	}
	tags, err := remote.List(repository, r.options(ctx)...)
	if refusal := (*transport.Error)(nil); errors.As(err, &refusal) && refusal.StatusCode == http.StatusNotFound {
		return nil, nil
	}
	return tags, err
}

func (r *Registry) image(ctx context.Context, tag string) (v1.Image, error) {
	reference, err := r.tag(tag)
	if err != nil {
		return nil, err
	}
	return remote.Image(reference, r.options(ctx)...)
}

// holds wants the service's tag to stand for a digest.
func (r *Registry) holds(name, tag string, digest *string) Fact {
	return Fact{name, TagOf{r, tag}, func(ctx context.Context) error {
		got, err := r.Digest(ctx, tag)
		if err == nil && (got != *digest || got == "") {
			return different(got, *digest)
		}
		return err
	}}
}

// lacks wants the service's tag not to be there.
func (r *Registry) lacks(name, tag string) Fact {
	return Fact{name, TagOf{r, tag}, func(ctx context.Context) error {
		got, err := r.Digest(ctx, tag)
		if err == nil && got != "" {
			return fmt.Errorf("it is there: %s", got)
		}
		return err
	}}
}

// builtFrom wants the image to tell its commit.
func (r *Registry) builtFrom(name, tag, commit string) Fact {
	return Fact{name, TagOf{r, tag}, func(ctx context.Context) error {
		image, err := r.image(ctx, tag)
		if err != nil {
			return err
		}
		config, err := image.ConfigFile()
		if err != nil {
			return err
		}
		if got := config.Config.Labels["org.opencontainers.image.revision"]; got != commit {
			return different(got, commit)
		}
		return nil
	}}
}

// whole wants the image's manifest, configuration and layers to be there, each as its digest says.
func (r *Registry) whole(name, tag string) Fact {
	return Fact{name, BlobsOf{r, tag}, func(ctx context.Context) error {
		image, err := r.image(ctx, tag)
		if err != nil {
			return err
		}
		return validate.Image(image)
	}}
}
