package promote

import (
	"context"
	"fmt"
	"time"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// backupTag returns the tag that keeps the replaced image.
func (p *promotion) backupTag(it *item) (string, error) {
	tag, err := p.force.backup.Expand(it.tag, it.held.Digest.String())
	if err != nil {
		return "", step.Problem("BACKUP_TAG: %w", err)
	}
	if tag == it.tag {
		return "", step.Problem("BACKUP_TAG: it is the tag %q itself, which is to be replaced", tag)
	}
	return tag, nil
}

// backUp puts the backup tag on the image that is about to be replaced, and makes sure that it is there. A backup tag
// that holds another image is never moved. That one is there already is what a run that was broken off leaves behind.
func (p *promotion) backUp(ctx context.Context, it *item) error {
	if err := it.keep(ctx); err != nil {
		return fmt.Errorf("keeping the image that is replaced: %w", err)
	}
	p.rt.Log.Info().Msgf("the image that is replaced is kept as %s", it.to.Reference(it.backup))
	return nil
}

func (it *item) keep(ctx context.Context) error {
	var refused error
	for written := false; ; written = true {
		kept, err := it.isKept(ctx)
		switch {
		case err != nil || kept:
			return err
		case refused != nil:
			return it.noBackup("the registry refuses to write the backup tag %q: %w", it.to.Reference(it.backup), refused)
		case written:
			return it.noBackup("the backup tag %q was written, and is not there", it.to.Reference(it.backup))
		}
		switch err := it.to.PutTag(ctx, *it.held, it.backup, time.Now(), it.isKept); {
		case registry.RefusesTag(err): // all that the tag is to hold was let in, so that it is the tag that is not
			refused = err
		case err != nil:
			return err
		}
	}
}

// isKept tells whether the backup tag holds the image that is to be replaced; that it holds another one is an error.
func (it *item) isKept(ctx context.Context) (bool, error) {
	found, present, err := it.to.Lookup(ctx, it.backup)
	switch {
	case err != nil:
		return false, err
	case present && found.Digest != it.held.Digest:
		return false, it.noBackup("the backup tag %q holds another image, %q, and is never moved", it.to.Reference(it.backup), found.Digest)
	}
	return present, nil
}

func (it *item) noBackup(format string, args ...any) error {
	return &fault.Error{
		Kind: fault.Refused, Side: it.to.Side(),
		Hint: "nothing was replaced: set BACKUP_TAG to another template, with {version} and {digest8} in it",
		Err:  fmt.Errorf(format, args...),
	}
}
