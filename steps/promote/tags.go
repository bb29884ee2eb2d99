package promote

import (
	"context"
	"fmt"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// tags has the release tags hold the images. It is the last that a run writes.
func (p *promotion) tags(ctx context.Context, items []*item) error {
	return each(ctx, items, parallelLookups, p.putTag)
}

// putTag has the release tag hold the image, unless the tag has changed since it was decided about: between this look
// and the write lies one request, which is as near as the distribution specification, without a conditional PUT, lets
// one come.
func (p *promotion) putTag(ctx context.Context, it *item) error {
	now, present, err := it.to.Lookup(ctx, it.tag)
	switch {
	case err != nil:
		return err
	case present && now.Digest == it.image.Digest:
		return nil // another run was faster
	case present && (it.held == nil || now.Digest != it.held.Digest):
		return it.lostRace(now.Digest, "meanwhile")
	}
	err = it.to.Put(ctx, it.image, it.tag)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	return p.refusedToOverwrite(ctx, it, err)
}

// refusedToOverwrite finds out what an error of the tag's PUT means: done all the same (its answer was lost), refused
// by a registry whose tags are immutable or protected, or what it says.
func (p *promotion) refusedToOverwrite(ctx context.Context, it *item, cause error) error {
	now, present, err := it.to.Lookup(ctx, it.tag)
	if err != nil {
		return cause
	}
	switch {
	case present && now.Digest == it.image.Digest:
		return nil
	case !present || !registry.RefusesTag(cause):
		return cause
	case it.held == nil:
		return it.lostRace(now.Digest, "meanwhile")
	}
	return &fault.Error{
		Kind: fault.Refused, Side: it.to.Side(),
		Hint: "tags are immutable or protected there: lift that for this tag, or promote it as another RELEASE_VERSION",
		Err: fmt.Errorf(
			"replacing %q: the registry refuses to overwrite the tag, which still holds %q; that image is also kept as %q: %w",
			it.report.Target, now.Digest, it.report.Backup, cause),
	}
}
