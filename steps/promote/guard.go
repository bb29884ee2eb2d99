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

// decide looks at the target's tag, sets the report's Promotion, and returns the image that is to be replaced (nil when
// there is none). It fails closed: what the tag holds must be known for certain, FORCE or not, since an image that is
// not seen cannot be kept either.
func (p *promotion) decide(ctx context.Context) (held *registry.Manifest, err error) {
	found, present, err := p.to.Lookup(ctx, p.tag)
	switch {
	case err != nil:
		return nil, err
	case !present:
		p.report.Promotion = Copied
		return nil, nil //nolint:nilnil // nothing is replaced, and nothing went wrong
	case found.Digest == p.image.Digest:
		p.report.Promotion = Same
		return nil, nil //nolint:nilnil // likewise
	case !p.force.allows(found.Digest.String()):
		return nil, p.refuse(ctx, found)
	}
	backup, err := p.backupTag(found)
	if err != nil {
		return nil, err
	}
	p.report.Promotion = Forced
	p.report.Reason = p.force.reason
	p.report.Replaced = found.Digest.String()
	p.report.Backup = p.to.Reference(backup)
	p.rt.Log.Warn().Str("reason", p.force.reason).
		Msgf("replacing %s, which holds %s", p.report.Target, described(ctx, p.to, found))
	return &found, nil
}

// refuse says what both images are, and how to replace the one that is there if that is really wanted.
func (p *promotion) refuse(ctx context.Context, found registry.Manifest) error {
	there, here := described(ctx, p.to, found), described(ctx, p.from, p.image)
	if p.force.only != "" {
		return p.refusal(found, "promoting to %q: FORCE_REPLACES names %q, and the tag holds another image, %s; not replaced by %s",
			p.report.Target, p.force.only, there, here)
	}
	return p.refusal(found, "promoting to %q: the tag holds another image, %s; not replaced by %s", p.report.Target, there, here)
}

func (p *promotion) refusal(found registry.Manifest, format string, args ...any) error {
	return fault.WithHint(fault.At(p.to.Side(), fault.New(fault.Refused, format, args...)), fmt.Sprintf(
		"give this image another version (RELEASE_VERSION), or to replace exactly that one set FORCE_REPLACES=%s", found.Digest))
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
