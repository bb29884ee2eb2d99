package promote

import (
	"context"
	"fmt"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
)

// force is the permission to replace an image.
type force struct {
	any    bool           // FORCE: whichever image it is
	only   string         // FORCE_REPLACES: the image of this digest and no other; goes before any
	reason string         // FORCE_REASON
	backup image.Template // BACKUP_TAG
}

// allows tells whether the image with this digest may be replaced.
func (f force) allows(digest string) bool {
	if f.only != "" {
		return f.only == digest
	}
	return f.any
}

// decide compares what is to be promoted with what the target's tag holds, which is known for certain by now, FORCE or
// not: an image that is not seen cannot be kept either.
func (p *promotion) decide(ctx context.Context, it *item) (err error) {
	switch {
	case it.held == nil:
		it.report.Promotion = Copied
		return nil
	case it.held.Digest == it.image.Digest:
		it.report.Promotion = Same
		return nil
	case !p.force.allows(it.held.Digest.String()):
		return p.refuse(ctx, it)
	}
	if it.backup, err = p.backupTag(it); err != nil {
		return err
	}
	it.report.Promotion = Forced
	it.report.Reason = p.force.reason
	it.report.Replaced = it.held.Digest.String()
	it.report.Backup = it.to.Reference(it.backup)
	p.rt.Log.Warn().Str("reason", p.force.reason).
		Msgf("%s %s, which holds %s", p.does("going to replace", "would replace"), it.report.Target, described(ctx, it.to, *it.held))
	return nil
}

// refuse says what both images are, and how to replace the one that is there if that is really wanted.
func (p *promotion) refuse(ctx context.Context, it *item) error {
	there, here := described(ctx, it.to, *it.held), described(ctx, it.from, it.image)
	if p.force.only != "" {
		return it.refusal(p.set, "promoting to %q: FORCE_REPLACES names %q, and the tag holds another image, %s; not replaced by %s",
			it.report.Target, p.force.only, there, here)
	}
	return it.refusal(p.set, "promoting to %q: the tag holds another image, %s; not replaced by %s", it.report.Target, there, here)
}

func (it *item) refusal(set bool, format string, args ...any) error {
	hint := "give this image another version (RELEASE_VERSION), or to replace exactly that one set FORCE_REPLACES=%s"
	if set {
		hint = "give this image another version (=VERSION behind it), or to replace exactly that one promote it alone, with FORCE_REPLACES=%s"
	}
	return fault.WithHint(fault.At(it.to.Side(), fault.New(fault.Refused, format, args...)), fmt.Sprintf(hint, it.held.Digest))
}

// described returns an image's digest with its revision and date. What cannot be read is said to be unknown: it must not
// hide what there is to say.
func described(ctx context.Context, in *registry.Repository, manifest registry.Manifest) string {
	revision, created := "unknown", "unknown"
	if facts, err := in.Inspect(ctx, manifest); err == nil {
		if facts.Revision() != "" {
			revision = facts.Revision()
		}
		if !facts.Created.IsZero() {
			created = facts.Created.UTC().Format("2006-01-02 15:04 MST")
		}
	}
	return fmt.Sprintf("%s (revision %s, created %s)", manifest.Digest, revision, created)
}
