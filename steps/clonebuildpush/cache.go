package clonebuildpush

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/kaniko"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// cache is where a build looks for layers, nil for nowhere.
func (r *runner) cache(rt *step.Runtime, access registry.Config) (*kaniko.Cache, error) {
	if r.CacheRepo == "" {
		return nil, nil
	}
	if r.Address == "" {
		rt.Log.Warn().Msg("CACHE_REPO is not used: PHASE=build has no REGISTRY to read it from")
		return nil, nil
	}
	target, done, err := openTarget(access, r.CacheRepo)
	if err != nil {
		return nil, err
	}
	defer done()
	repository, err := name.NewRepository(target.String())
	if err != nil {
		return nil, step.Problem("CACHE_REPO: %w", err)
	}
	return &kaniko.Cache{Repository: repository, TTL: r.CacheTTL}, nil
}

// pushCached keeps layers for later builds. One that cannot be kept is built again, which is no reason to fail.
func (r *runner) pushCached(ctx context.Context, rt *step.Runtime, target *registry.Repository, entries []kaniko.Cached) {
	cache := target.Beside(r.CacheRepo)
	kept := 0
	for _, entry := range entries {
		if err := pushEntry(ctx, cache, entry); err != nil {
			rt.Log.Warn().Err(err).Msg("a layer is not kept in CACHE_REPO")
			break // the next would fare no better
		}
		kept++
	}
	if kept > 0 {
		rt.Log.Info().Int("layers", kept).Str("repository", cache.String()).Msg("kept layers for later builds")
	}
}

func pushEntry(ctx context.Context, cache *registry.Repository, entry kaniko.Cached) error {
	local := registry.FromImage(entry.Image)
	if _, err := registry.Copy(ctx, local, entry.Digest, cache, func(registry.Progress) {}); err != nil {
		return err
	}
	manifest, err := local.Manifest(ctx, entry.Digest)
	if err != nil {
		return err
	}
	return cache.Put(ctx, manifest, entry.Key)
}

// openCached opens what PHASE=build has left for the cache. Close each.
func openCached(folder *os.Root, told []handedLayer) ([]kaniko.Cached, error) {
	var out []kaniko.Cached
	for _, layer := range told {
		digest, err := v1.NewHash(layer.Digest)
		if err != nil {
			return out, fmt.Errorf("reading what PHASE=build has left for the cache: %w", err)
		}
		image, err := kaniko.OpenLayout(filepath.Join(folder.Name(), layer.Layout), digest)
		if err != nil {
			return out, err
		}
		out = append(out, kaniko.Cached{Key: layer.Key, Digest: digest, Image: image})
	}
	return out, nil
}
