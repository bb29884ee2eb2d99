package clonebuildpush

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// findExisting looks whether there is anything to build. A Git tag's image is that of its very commit, where dev has
// it already, or where the version itself is of that commit: production then gets what was tested. A version that must not
// be replaced is refused now, not after the build.
func findExisting(
	ctx context.Context, target *registry.Repository, what plan, from source,
) (*registry.Manifest, error) {
	var tested *registry.Manifest
	if from.Tag != "" && what.CommitTag != "" {
		found, present, err := target.Lookup(ctx, what.CommitTag)
		if err != nil {
			return nil, err
		}
		if present {
			if err := checkRevision(ctx, target, found, what.CommitTag, from.Hash); err != nil {
				return nil, err
			}
			tested = &found
		}
	}
	if what.Overwrite {
		return tested, nil
	}
	current, present, err := target.Lookup(ctx, what.Image.Version)
	if err != nil || !present {
		return tested, err
	}
	if tested != nil && tested.Digest == current.Digest {
		return tested, nil
	}
	if from.Tag == "" || from.Hash == "" {
		return nil, taken(target, what, current, tested)
	}
	revision, err := revisionOf(ctx, target, current, what.Image.Version)
	switch {
	case err != nil:
		return nil, err
	case revision != from.Hash:
		return nil, moved(target, what, current, revision, from)
	case tested == nil:
		return &current, nil
	}
	return nil, taken(target, what, current, tested)
}

// moved says that a version is there already, of another commit than the one that the Git tag leads to.
func moved(target *registry.Repository, what plan, current registry.Manifest, revision string, from source) error {
	built := "built from commit " + revision
	if revision == "" {
		built = "which does not say of which commit it is"
	}
	err := fault.New(fault.Refused, "tagging %q: it is there already, as %s, %s, and the Git tag %q leads to commit %s",
		target.Reference(what.Image.Version), current.Digest, built, from.Tag, from.Hash)
	return fault.WithHint(fault.At(side, err),
		"a Git tag that was moved is not released again: give the commit a tag of its own, or set OVERWRITE=true")
}

// checkRevision makes sure that the image under a commit's tag says that it was built from that commit. This finds a tag
// that was moved by mistake; whoever may push could push an image that says anything.
func checkRevision(ctx context.Context, target *registry.Repository, found registry.Manifest, tag, commit string) error {
	revision, err := revisionOf(ctx, target, found, tag)
	if err != nil || revision == commit {
		return err
	}
	return fault.WithHint(fault.At(side, fault.New(fault.Refused,
		"taking the image of this commit: %q holds %s, which says that it was built from %q", target.Reference(tag),
		found.Digest, revision)), "somebody else wrote that tag: remove it, and the commit is built again")
}

// revisionOf is the commit that the image under a tag says it was built from, "" where it says nothing.
func revisionOf(ctx context.Context, target *registry.Repository, found registry.Manifest, tag string) (string, error) {
	facts, err := target.Inspect(ctx, found)
	if err != nil {
		return "", fmt.Errorf("reading which commit %q was built from: %w", target.Reference(tag), err)
	}
	return facts.Revision(), nil
}

// taken says that a version is there already, and that it is not to be replaced.
func taken(target *registry.Repository, what plan, current registry.Manifest, wanted *registry.Manifest) error {
	err := fault.New(fault.Refused, "tagging %q: it is there already, as %s", target.Reference(what.Image.Version), current.Digest)
	if wanted != nil {
		err = fault.New(fault.Refused, "tagging %q: it is there already, as %s, and this commit's image is %s",
			target.Reference(what.Image.Version), current.Digest, wanted.Digest)
	}
	return fault.WithHint(fault.At(side, err), "build another version, or set OVERWRITE=true")
}

// push writes the image by its digest; no tag shows it yet.
func push(
	ctx context.Context, rt *step.Runtime, built v1.Image, target *registry.Repository,
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
		if err := readBack(ctx, rt, target, manifest, name, slices.Contains(what.ExtraTags, name)); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// readBack finds out that somebody else wrote the tag at the same time. What then holds the version is not what the
// results would say; a tag such as latest may well have moved on.
func readBack(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, manifest registry.Manifest, tag string, extra bool,
) error {
	now, present, err := target.Lookup(ctx, tag)
	switch {
	case err != nil:
		return fmt.Errorf("checking the tag after it was written: %w", err)
	case present && now.Digest == manifest.Digest:
		return nil
	case extra:
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
