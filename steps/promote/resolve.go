package promote

import (
	"context"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// resolve finds out what is to be promoted and what the target's tag holds, both at the same time, and decides.
func (p *promotion) resolve(ctx context.Context, it *item) error {
	var (
		found   registry.Manifest
		present bool
	)
	both, bothContext := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		it.image, err = it.from.Resolve(bothContext, it.wanted)
		return err
	})
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		found, present, err = it.to.Lookup(bothContext, it.tag)
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	if present {
		it.held = &found
	}
	it.report.Digest = it.image.Digest.String()
	p.rt.Log.Info().Str("digest", it.report.Digest).Int("platforms", max(1, len(it.image.Children()))).
		Msgf("%s %s to %s", p.does("promoting", "would promote"), it.report.Source, it.report.Target)
	return p.decide(ctx, it)
}
