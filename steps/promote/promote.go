// Package promote is the step that copies one image from the source registry to the target registry, by its digest and
// with all its platforms, and never over another image unless that is asked for.
package promote

import (
	"context"
	_ "embed"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

//go:embed config.go
var source string

// Program describes the program promote.
func Program() step.Program {
	return step.Program{
		Name: "promote",
		Summary: "Copies an image, by digest and with all its platforms, from the testing registry to the production " +
			"registry, and never replaces another image there unless told to.",
		Step:    &Config{},
		Source:  source,
		Results: []string{"DESTINATION_DIGEST", "PROMOTION", "PROMOTED_IMAGE"},
	}
}

// Promotion is what a run came to: the result PROMOTION.
type Promotion string

// The promotions.
const (
	Copied Promotion = "copied" // the tag was absent, and holds the image now
	Same   Promotion = "same"   // the tag held the image already; nothing was written
	Forced Promotion = "forced" // the tag held another image, which is kept under a backup tag
)

// Run implements step.Step: resolve, decide, copy, back up, put the tag, check.
func (c *Config) Run(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	p, err := c.open(rt)
	if err != nil {
		return step.Outcome{}, err
	}
	defer p.close()
	err = p.run(ctx)
	outcome := step.Outcome{Report: p.report}
	if err == nil {
		p.summarize(rt.Stdout)
		outcome.Results = []step.Result{
			{Name: "DESTINATION_DIGEST", Value: p.image.Digest.String()},
			{Name: "PROMOTION", Value: string(p.report.Promotion)},
			{Name: "PROMOTED_IMAGE", Value: p.name}, // which the steps that follow take as IMAGE
		}
	}
	return outcome, err
}

// promotion is one run.
type promotion struct {
	rt       *step.Runtime
	from, to *registry.Repository
	wanted   string // in the source: the version, or DIGEST
	tag      string // in the target
	name     string // CODE/NAME:VERSION in the target
	force    force
	close    func()

	image  registry.Manifest // once resolved
	report report
}

// open makes a run of the configuration, without connecting.
func (c *Config) open(rt *step.Runtime) (*promotion, error) {
	name, err := image.Parse(c.Image)
	if err != nil {
		return nil, step.Problem("IMAGE: %w", err)
	}
	from, err := c.side(rt, c.Source, "source registry")
	if err != nil {
		return nil, err
	}
	to, err := c.side(rt, c.Target, "target registry")
	if err != nil {
		return nil, err
	}
	p := &promotion{
		rt:     rt,
		from:   from.Repository(name.Name),
		to:     to.Repository(name.Name),
		wanted: name.Version,
		tag:    name.Version,
		force:  force{any: c.Force, only: c.ForceReplaces, reason: c.ForceReason, backup: image.Template(c.BackupTag)},
		close:  func() { from.Close(); to.Close() },
	}
	if c.ReleaseVersion != "" {
		p.tag = c.ReleaseVersion
	}
	p.name = name.Name + ":" + p.tag
	if p.from.Same(p.to) && name.Version == p.tag {
		return nil, step.Problem("SOURCE_REGISTRY and TARGET_REGISTRY are the same, %q: "+
			"an image is promoted to another registry or, with RELEASE_VERSION, to another version", p.to.Reference(p.tag))
	}
	if c.Digest != "" {
		p.wanted = c.Digest
	}
	p.report.Source, p.report.Target = p.from.Reference(p.wanted), p.to.Reference(p.tag)
	return p, nil
}

func (c *Config) side(rt *step.Runtime, settings step.Registry, name string) (*registry.Registry, error) {
	config, err := settings.Access(rt, name)
	if err != nil {
		return nil, err
	}
	config.Patience = c.patience
	return registry.Open(config)
}

func (p *promotion) run(ctx context.Context) error {
	var err error
	if p.image, err = p.from.Resolve(ctx, p.wanted); err != nil {
		return err
	}
	p.report.Digest = p.image.Digest.String()
	p.rt.Log.Info().Str("digest", p.report.Digest).Int("platforms", max(1, len(p.image.Children()))).
		Msgf("promoting %s to %s", p.report.Source, p.report.Target)
	held, err := p.decide(ctx)
	if err != nil {
		return err
	}
	if p.report.Promotion == Same {
		p.rt.Log.Info().Msgf("%s holds this very image already: nothing to write", p.report.Target)
		return nil
	}
	if err := p.copy(ctx); err != nil {
		return err
	}
	if err := p.backUp(ctx, held); err != nil {
		return err
	}
	if err := p.putTag(ctx, held); err != nil {
		return err
	}
	return p.check(ctx)
}

// putTag has the release tag hold the image, unless the tag has changed since it was decided about: between this look
// and the write lies one request, which is as near as the distribution specification, without a conditional PUT, lets
// one come.
func (p *promotion) putTag(ctx context.Context, held *registry.Manifest) error {
	now, present, err := p.to.Lookup(ctx, p.tag)
	switch {
	case err != nil:
		return err
	case present && now.Digest == p.image.Digest:
		return nil // another run was faster
	case present && (held == nil || now.Digest != held.Digest):
		return p.lostRace(now.Digest, "meanwhile")
	}
	err = p.to.Put(ctx, p.image, p.tag)
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return err
	}
	return p.refusedToOverwrite(ctx, held, err)
}

// refusedToOverwrite finds out what an error of the tag's PUT means: done all the same (its answer was lost), refused
// by a registry whose tags are immutable or protected, or what it says.
func (p *promotion) refusedToOverwrite(ctx context.Context, held *registry.Manifest, cause error) error {
	now, present, err := p.to.Lookup(ctx, p.tag)
	if err != nil {
		return cause
	}
	switch {
	case present && now.Digest == p.image.Digest:
		return nil
	case !present || !registry.RefusesTag(cause):
		return cause
	case held == nil:
		return p.lostRace(now.Digest, "meanwhile")
	}
	return &fault.Error{
		Kind: fault.Refused, Side: p.to.Side(),
		Hint: "tags are immutable or protected there: lift that for this tag, or promote it as another RELEASE_VERSION",
		Err: fmt.Errorf(
			"replacing %q: the registry refuses to overwrite the tag, which still holds %q; that image is also kept as %q: %w",
			p.report.Target, now.Digest, p.report.Backup, cause),
	}
}

// check reads the tag back: the registry has the last word on what it holds.
func (p *promotion) check(ctx context.Context) error {
	now, present, err := p.to.Lookup(ctx, p.tag)
	switch {
	case err != nil:
		return fmt.Errorf("checking the tag after it was written: %w", err)
	case !present:
		return fault.At(p.to.Side(), fault.New(fault.Refused,
			"checking %q after it was written: the tag is gone, somebody removed it at the same time", p.report.Target))
	case now.Digest != p.image.Digest:
		return p.lostRace(now.Digest, "right after it was written here")
	}
	return nil
}

func (p *promotion) lostRace(now v1.Hash, when string) error {
	return fault.WithHint(fault.At(p.to.Side(), fault.New(fault.Refused,
		"promoting to %q: somebody else wrote the tag %s, it holds %q, not %q", p.report.Target, when, now, p.image.Digest)),
		"find out who else promotes this version, then start this step again: it decides anew")
}
