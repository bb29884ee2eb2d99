package promote

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// check reads the tag back: the registry has the last word on what it holds.
func (p *promotion) check(ctx context.Context, it *item) error {
	now, present, err := it.to.Lookup(ctx, it.tag)
	switch {
	case err != nil:
		return fmt.Errorf("checking the tag after it was written: %w", err)
	case !present:
		return it.removed("right after it was written here")
	case now.Digest != it.image.Digest:
		return it.lostRace(now.Digest, "right after it was written here")
	}
	return nil
}

func (it *item) lostRace(now v1.Hash, when string) error {
	return fault.WithHint(fault.At(it.to.Side(), fault.New(fault.Refused,
		"promoting to %q: somebody else wrote the tag %s, it holds %q, not %q", it.report.Target, when, now, it.image.Digest)),
		"find out who else promotes this version, then start this step again: it decides anew")
}

func (it *item) removed(when string) error {
	return fault.WithHint(fault.At(it.to.Side(), fault.New(fault.Refused,
		"promoting to %q: somebody else removed the tag %s", it.report.Target, when)),
		"find out who removed it, and why, then start this step again: it decides anew")
}
