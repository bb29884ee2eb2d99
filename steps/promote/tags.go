package promote

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// finishWithin is how long a tag's write may take to its end after a signal: one that is broken off may be done by the
// registry all the same, and later than anybody looks. A step has some four seconds in all.
const finishWithin = 1500 * time.Millisecond

// tags has the release tags hold the images: all of them, or none as far as the registry lets that be. Only floating tags
// are written after them.
func (p *promotion) tags(ctx context.Context, items []*item) error {
	if err := each(ctx, p.lookedAt(items), parallelLookups, p.lastLook); err != nil {
		return err
	}
	if err := p.putTags(ctx, items); err != nil {
		return p.putBack(ctx, items, err)
	}
	err := each(ctx, items, parallelLookups, p.readBack)
	if err != nil && ofOneImage(err) { // somebody else wrote a tag: all or none
		return p.putBack(ctx, items, err)
	}
	return err // if they cannot be read at the moment, they have been written all the same
}

// lookedAt are those whose tags are looked at once more before the first is written: of a set also those that held their
// images already, which may have been replaced while the others were copied.
func (p *promotion) lookedAt(written []*item) []*item {
	if len(written) == 0 || !p.set {
		return written
	}
	return append(p.with(Same), written...)
}

// lastLook looks at the tag again, unless that was done a moment ago.
func (p *promotion) lastLook(ctx context.Context, it *item) error {
	if time.Since(it.looked) <= registry.FreshLook {
		return nil
	}
	return p.lookAgain(ctx, it)
}

// readBack reads back what was written: the tag, and the list that has the record.
func (p *promotion) readBack(ctx context.Context, it *item) error {
	both, bothContext := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		return p.confirmRecord(bothContext, it)
	})
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		return p.check(bothContext, it)
	})
	return both.Wait()
}

// lookAgain refuses when a tag has changed since it was decided about. The distribution specification has no conditional
// PUT: what somebody else writes between the last look and the write is replaced. So that look is less than a second old.
func (p *promotion) lookAgain(ctx context.Context, it *item) error {
	now, present, err := it.to.Lookup(ctx, it.tag)
	switch {
	case err != nil:
		return err
	case present && now.Digest == it.image.Digest:
		it.there = true // another run was faster
	case !present && it.held != nil:
		return it.removed("meanwhile")
	case present && (it.held == nil || now.Digest != it.held.Digest):
		return it.lostRace(now.Digest, "meanwhile")
	}
	it.looked = time.Now()
	return nil
}

// putTags writes the tags, some at a time, until one fails or a signal comes. What was begun is brought to its end.
func (p *promotion) putTags(ctx context.Context, items []*item) error {
	patient, done := outlasting(ctx, finishWithin)
	defer done()
	var stopped atomic.Bool
	concurrently(items, parallelLookups, func(it *item) {
		if ctx.Err() != nil {
			stopped.Store(true)
		}
		if it.there || stopped.Load() {
			return
		}
		it.tried = true
		if it.err = p.putTag(patient, it); it.err != nil {
			stopped.Store(true)
		}
	})
	err := problemsOf(ctx, items)
	if err != nil && ctx.Err() != nil && !stopped.Load() {
		return nil // the signal came after the last one was begun
	}
	return err
}

func (p *promotion) putTag(ctx context.Context, it *item) error {
	err := it.to.PutTag(ctx, it.image, it.tag, it.looked, func(ctx context.Context) (done bool, err error) {
		err = p.lookAgain(ctx, it)
		return it.there, err
	})
	if err == nil || ctx.Err() != nil {
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
