package promote

import (
	"context"
	"fmt"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// backupTag returns the tag that keeps the replaced image.
func (p *promotion) backupTag(replaced registry.Manifest) (string, error) {
	tag, err := p.force.backup.Expand(p.tag, replaced.Digest.String())
	if err != nil {
		return "", step.Problem("BACKUP_TAG: %w", err)
	}
	if tag == p.tag {
		return "", step.Problem("BACKUP_TAG: it is the tag %q itself, which is to be replaced", tag)
	}
	return tag, nil
}

// backUp puts the backup tag on the image that is about to be replaced, and makes sure that it is there. A backup tag
// that holds another image is never moved. That one is there already is what a run that was broken off leaves behind.
func (p *promotion) backUp(ctx context.Context, replaced *registry.Manifest) error {
	if replaced == nil {
		return nil
	}
	tag, err := p.backupTag(*replaced)
	if err != nil {
		return err
	}
	var refused error
	for written := false; ; written = true {
		found, present, err := p.to.Lookup(ctx, tag)
		switch {
		case err != nil:
			return fmt.Errorf("keeping the image that is replaced: %w", err)
		case present && found.Digest == replaced.Digest:
			p.rt.Log.Info().Msgf("the image that is replaced is kept as %s", p.to.Reference(tag))
			return nil
		case present:
			return p.noBackup("the backup tag %q holds another image, %q, and is never moved", p.to.Reference(tag), found.Digest)
		case refused != nil:
			return p.noBackup("the registry refuses to write the backup tag %q: %w", p.to.Reference(tag), refused)
		case written:
			return p.noBackup("the backup tag %q was written, and is not there", p.to.Reference(tag))
		}
		switch err := p.to.Put(ctx, *replaced, tag); {
		case registry.RefusesTag(err): // all that the tag is to hold was let in, so that it is the tag that is not
			refused = err
		case err != nil:
			return fmt.Errorf("keeping the image that is replaced: %w", err)
		}
	}
}

func (p *promotion) noBackup(format string, args ...any) error {
	return &fault.Error{
		Kind: fault.Refused, Side: p.to.Side(),
		Hint: "nothing was replaced: set BACKUP_TAG to another template, with {version} and {digest8} in it",
		Err:  fmt.Errorf("keeping the image that is replaced: "+format, args...),
	}
}
