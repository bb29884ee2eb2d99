package registry

import (
	"context"
	"fmt"
	"time"

	"dockline/pkg/fault"
)

// Look is asked right before a tag is written or removed: done when nothing needs to be done any more, an error when it
// must not be.
type Look func(ctx context.Context) (done bool, err error)

// FreshLook is how long a look at a tag may lie back when the tag is written.
const FreshLook = time.Second

// PutTag writes the manifest under a tag that was looked at last at a time. The distribution specification has no
// conditional PUT; so that nothing is replaced that was not seen, look comes before each attempt, a first one excepted
// that follows the last look at once. Its error is returned as it is, and ends the attempts.
func (r *Repository) PutTag(ctx context.Context, manifest Manifest, tag string, looked time.Time, look Look) error {
	err := r.eachLooked(ctx, looked, look, func() error {
		_, err := r.putOnce(ctx, manifest, tag)
		return err
	})
	return r.told(err, "writing %q: %w", tag)
}

// eachLooked makes attempts as the client does, each right after a look. A registry that wants to be left alone for a
// while is left alone before the look, not after it.
func (r *Repository) eachLooked(ctx context.Context, looked time.Time, look Look, attempt func() error) error {
	var ended error
	err := r.client.repeat(ctx, func() error {
		if err := r.client.throttle.pause(ctx); err != nil {
			return lost(ctx, err)
		}
		if time.Since(looked) > FreshLook {
			var done bool
			if done, ended = look(ctx); done || ended != nil {
				return nil
			}
		}
		looked = time.Time{} // an attempt that fails may have been carried out, and then somebody else's
		return attempt()
	})
	if ended != nil {
		return &lookError{ended}
	}
	return err
}

// lookError is what a Look returned. It is told as it is.
type lookError struct{ error }

// told says what could not be done, unless that is an error of a Look.
func (r *Repository) told(err error, format, tag string) error {
	if err == nil {
		return nil
	}
	if looked, ok := err.(*lookError); ok { //nolint:errorlint // eachLooked returns it itself
		return looked.error
	}
	return fault.At(r.client.side, fmt.Errorf(format, r.Reference(tag), err))
}
