package promote

import (
	"context"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// forced is the promotion by which a tag came to hold the image that it holds, as far as undoing it is concerned.
type forced struct {
	Undone   bool   // it was itself the undoing of one
	Replaced string // digest of the image that it replaced
	Backup   string // HOST/NAME:TAG where that is kept
	When     time.Time
}

// forcedBy reads in the records how the tag came to hold the image: in those that the known keys signed, or this run's
// own, and in any where there are no keys. An error of kind fault.Refused says that it replaced nothing, or that none is
// there.
func (p *promotion) forcedBy(ctx context.Context, in *registry.Repository, target string, holds v1.Hash) (forced, error) {
	keys := slices.Concat(p.config.Records.Known(), p.config.Records.Signer().Public())
	all, err := record.Promotions(ctx, in, holds, keys)
	if err != nil {
		return forced{}, err
	}
	signedOnly, now := len(keys) > 0, time.Now()
	last, err := record.Last(all, target, signedOnly, now)
	if err != nil {
		return forced{}, err
	}
	if last.Promotion.Kind == record.Undone {
		return forced{Undone: true, When: last.Promotion.Time}, nil
	}
	made, err := record.LastForced(all, target, signedOnly, now)
	if err != nil {
		return forced{}, err
	}
	return forced{Replaced: made.Replaced, Backup: made.Backup, When: made.Time}, nil
}
