package clonebuildpush

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// pushable is an image, or an index of several.
type pushable interface {
	partial.WithRawManifest
	MediaType() (types.MediaType, error)
	Digest() (v1.Hash, error)
}

// push writes the image by its digest; no tag shows it yet.
func push(
	ctx context.Context, rt *step.Runtime, built pushable, target *registry.Repository,
) (registry.Manifest, error) {
	defer rt.Section("push", "Pushing to "+target.String())()
	digest, err := built.Digest()
	if err != nil {
		return registry.Manifest{}, fmt.Errorf("reading the image that was built: %w", err)
	}
	started := time.Now()
	var blobs atomic.Int32
	defer rt.Waiting(ctx, func() string { return fmt.Sprintf("pushing: %d blobs done", blobs.Load()) })()
	local := registry.FromImage(built)
	copied, err := registry.Copy(ctx, local, digest, target, func(p registry.Progress) {
		if p.State != registry.Running {
			blobs.Add(1)
		}
	})
	if err != nil {
		return registry.Manifest{}, err
	}
	rt.Log.Info().Int("blobs", copied.Blobs).Int("present", copied.Present).Int64("bytes", copied.Bytes).
		Str("took", time.Since(started).Round(time.Millisecond).String()).Msg("wrote the image by its digest")
	return local.Manifest(ctx, digest)
}

// tag writes the tags, the version last: others may be waiting for it. It returns them in that order.
func tag(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, manifest registry.Manifest,
) ([]string, error) {
	var tags []string
	if what.CommitTag != "" {
		tags = append(tags, what.CommitTag)
	}
	if tag := what.KeyTag(); tag != "" {
		tags = append(tags, tag)
	}
	tags = append(append(tags, what.ExtraTags...), what.Image.Version)
	for _, name := range tags {
		current, present, err := target.Lookup(ctx, name)
		if err != nil {
			return nil, err
		}
		switch {
		case present && current.Digest == manifest.Digest:
			continue
		case present && name == what.Image.Version && !what.Overwrite:
			return nil, taken(target, what, current, &manifest)
		case present:
			rt.Log.Info().Str("tag", name).Str("from", current.Digest.String()).Msg("the tag is moved")
		}
		if err := target.Put(ctx, manifest, name); err != nil {
			return nil, err
		}
		loose := name == what.KeyTag() || slices.Contains(what.ExtraTags, name)
		if err := readBack(ctx, rt, target, manifest, name, loose); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// readBack finds out that somebody else wrote the tag at the same time. What then holds the version is not what the
// results would say; a tag such as latest may well have moved on, and so may that of a build's key, when two runs have
// built the same at the same time.
func readBack(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, manifest registry.Manifest, tag string, loose bool,
) error {
	now, present, err := target.Lookup(ctx, tag)
	switch {
	case err != nil:
		return fmt.Errorf("checking the tag after it was written: %w", err)
	case present && now.Digest == manifest.Digest:
		return nil
	case loose:
		rt.Log.Warn().Str("tag", tag).Msg("somebody else has moved the tag at the same time")
		return nil
	}
	holds := "is gone"
	if present {
		holds = "holds " + now.Digest.String()
	}
	return fault.WithHint(fault.At(side, fault.New(fault.Refused,
		"tagging %q: somebody else wrote the tag at the same time, it %s instead of %s", target.Reference(tag), holds, manifest.Digest)),
		"find out who else builds this version, then start this step again")
}
