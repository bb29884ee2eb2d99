package promote

import (
	"context"
	"fmt"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
)

// undo is resolve and decide for UNDO: the tag holds an image that replaced another by force, and is to hold that one
// again, which is known by two witnesses: the record, and the backup tag. The image that goes is kept like any that is
// replaced. Nothing is deleted, and what was undone is not undone: its undoing is what the record tells then.
func (p *promotion) undo(ctx context.Context, it *item) error {
	held, err := it.to.Resolve(ctx, it.tag)
	if err != nil {
		return err
	}
	found, err := p.forcedBy(ctx, it.to, it.report.Target, held.Digest)
	switch {
	case fault.KindOf(err) == fault.Refused && err != nil:
		return notUndone(it, held, "%w", err)
	case err != nil:
		return fmt.Errorf("undoing the promotion to %q: %w", it.report.Target, err)
	}
	it.held = &held
	it.from = it.to
	if found.Undone {
		it.image = held
		it.report.Promotion, it.report.Digest, it.report.Source = Same, held.Digest.String(), it.report.Target
		return nil // by a run before this one
	}
	tag, ok := strings.CutPrefix(found.Backup, it.to.String()+":")
	if !ok || image.CheckVersion(tag) != nil {
		return notUndone(it, held, "the replaced image is kept as %q, which is no tag of this repository", found.Backup)
	}
	kept, present, err := it.to.Lookup(ctx, tag)
	switch {
	case err != nil:
		return err
	case !present:
		return notUndone(it, held, "the backup %q is gone", found.Backup)
	case kept.Digest.String() != found.Replaced || kept.Digest == held.Digest:
		return notUndone(it, held, "the backup %q holds %q, and what was replaced is %q", found.Backup, kept.Digest, found.Replaced)
	}
	it.image, it.wanted = kept, tag
	if it.backup, err = p.backupTag(it); err != nil {
		return err
	}
	it.report.Source = it.to.Reference(tag)
	it.report.Promotion = Undone
	it.report.Digest = kept.Digest.String()
	it.report.Reason = p.force.reason
	it.report.Replaced = held.Digest.String()
	it.report.Backup = it.to.Reference(it.backup)
	p.rt.Log.Warn().Str("reason", p.force.reason).Time("forced", found.When).
		Msgf("%s %s to %s, in the place of %s", p.does("bringing back", "would bring back"),
			described(ctx, it.to, kept), it.report.Target, described(ctx, it.to, held))
	return nil
}

func notUndone(it *item, held registry.Manifest, format string, args ...any) error {
	err := fault.New(fault.Refused, "undoing the promotion to %q: "+format, append([]any{it.report.Target}, args...)...)
	return &fault.Error{Side: it.to.Side(), Err: err, Hint: fmt.Sprintf("nothing was changed: a backup that you know of is promoted like "+
		"any image, with SOURCE_REGISTRY the target's, RELEASE_VERSION=%s and FORCE_REPLACES=%s", it.tag, held.Digest)}
}
