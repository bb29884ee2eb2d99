package clonebuildpush

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// baseSide names the registries of base images in errors.
const baseSide = "base image registry"

// puller fetches base images for a build, with the credentials that the build does not have. The step's own registry
// gets its own account; any other host only what the files of credentials say for it.
type puller struct {
	own     registry.Config
	cache   string // the repository of layers that were built, HOST/PATH; "" for none
	mirrors mirrors

	mu    sync.Mutex
	hosts map[endpoint]*registry.Registry
	away  map[string]bool   // mirrors that do not answer, by address
	sizes map[v1.Hash]int64 // of the blobs that fetched manifests name
	bases map[v1.Hash]bool  // those that are not the cache's
	tags  map[string]string // digest of each tag that was resolved, by HOST/PATH:TAG
}

// newPuller opens the registries of these images, and looks up their hosts, before the build can tamper with either. An
// image that is not there is found out now, too, not after half of the build; where tells which instruction names it.
func newPuller(
	ctx context.Context, own registry.Config, elsewhere mirrors, images []string, where map[string]string,
) (*puller, error) {
	pinned := newPins()
	own.Dial = pinned.Dial // not the pins of the push: a registry may send its blobs from hosts yet unknown
	own.Side = baseSide
	p := &puller{
		own: own, mirrors: elsewhere, hosts: map[endpoint]*registry.Registry{}, away: map[string]bool{},
		sizes: map[v1.Hash]int64{}, bases: map[v1.Hash]bool{}, tags: map[string]string{},
	}
	for _, image := range images {
		reference, err := name.ParseReference(image)
		if err != nil {
			return nil, fault.New(fault.BuildFailed, "%s: reading the image's name %q: %w", where[image], image, err)
		}
		if _, _, err := p.Manifest(ctx, reference.Context(), reference.Identifier()); err != nil {
			return nil, fmt.Errorf("%s: %w", where[image], err)
		}
	}
	for at, opened := range p.hosts {
		if !at.mirror && len(elsewhere.of[opened.Host()]) > 0 {
			p.lookUp(ctx, pinned, opened)
		}
	}
	return p, nil
}

// Manifest implements kaniko.Puller. A tag is resolved once: every stage that names it is built on the same image.
func (p *puller) Manifest(
	ctx context.Context, repository name.Repository, reference string,
) (mediaType string, content []byte, err error) {
	tag := repository.Name() + ":" + reference
	p.mu.Lock()
	if digest := p.tags[tag]; digest != "" {
		reference = digest
	}
	p.mu.Unlock()
	manifest, err := ask(ctx, p, repository, func(from *registry.Repository) (registry.Manifest, error) {
		return from.Resolve(ctx, reference)
	})
	if err != nil {
		return "", nil, err
	}
	p.remember(tag, manifest, repository.Name() == p.cache)
	return string(manifest.MediaType), manifest.Raw, nil
}

// digest returns what an image of the Dockerfile was resolved to.
func (p *puller) digest(image string) (string, error) {
	reference, err := name.ParseReference(image)
	if err != nil {
		return "", fault.New(fault.BuildFailed, "reading the base image %q: %w", image, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.tags[reference.Context().Name()+":"+reference.Identifier()], nil
}

// served tells whether the manifest of an image that was fetched, not of a layer of the cache, names the blob.
func (p *puller) served(digest v1.Hash) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.bases[digest]
}

// Blob implements kaniko.Puller. Only blobs of manifests that were fetched are known.
func (p *puller) Blob(
	ctx context.Context, repository name.Repository, digest v1.Hash,
) (content io.ReadCloser, size int64, err error) {
	p.mu.Lock()
	size, known := p.sizes[digest]
	p.mu.Unlock()
	if !known {
		return nil, 0, fault.New(fault.NotFound, "fetching blob %q: no manifest that was fetched names it", digest)
	}
	content, err = ask(ctx, p, repository, func(from *registry.Repository) (io.ReadCloser, error) {
		return from.Blob(ctx, v1.Descriptor{Digest: digest, Size: size})
	})
	return content, size, err
}

// remember notes what a tag stands for, and the sizes of the blobs that the manifest names.
func (p *puller) remember(tag string, fetched registry.Manifest, cached bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tags[tag] = fetched.Digest.String()
	var manifest struct {
		Config *v1.Descriptor  `json:"config"`
		Layers []v1.Descriptor `json:"layers"`
	}
	if json.Unmarshal(fetched.Raw, &manifest) != nil {
		return // whoever uses the manifest will say so
	}
	for _, blob := range manifest.Layers {
		p.sizes[blob.Digest] = blob.Size
		p.bases[blob.Digest] = p.bases[blob.Digest] || !cached
	}
	if manifest.Config != nil {
		p.sizes[manifest.Config.Digest] = manifest.Config.Size
	}
}

// endpoint is a registry, or a mirror, by its address.
type endpoint struct {
	address string
	mirror  bool
}

// open opens a registry, or a mirror, once.
func (p *puller) open(at endpoint) (*registry.Registry, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	opened, ok := p.hosts[at]
	if !ok {
		config := p.configFor(at.address)
		if at.mirror {
			config.Patience = registry.DefaultPatience
			config.Patience.Attempts = mirrorAttempts
		}
		var err error
		if opened, err = registry.Open(config); err != nil {
			return nil, err
		}
		p.hosts[at] = opened
	}
	return opened, nil
}

// configFor is the step's own configuration for its own host, and one without its account and its leniency for others.
func (p *puller) configFor(address string) registry.Config {
	config := p.own
	config.Address = address
	own, err := registry.Open(p.own)
	other, otherErr := registry.Open(config)
	if err == nil && otherErr == nil && own.Host() == other.Host() {
		return config
	}
	config.Username, config.Password, config.Insecure = "", "", false
	config.Certificate, config.Key = nil, nil
	return config
}
