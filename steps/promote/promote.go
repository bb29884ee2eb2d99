// Package promote is the step that copies images from the source registry to the target registry, by their digests and
// with all their platforms, and never over another image unless that is asked for.
//
// A run goes through its phases one after the other, each for all images of the set before the next begins: resolve and
// decide, gates, copy, record, back up, tags (which are read back), floating tags. Nothing that can be found out by
// reading is found out after the first write, and no tag moves before all that any of the tags leads to is there.
package promote

import (
	"context"
	_ "embed"
	"errors"
	"slices"

	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/steps/recording"
)

//go:embed config.go
var source string

// Program describes the program promote.
func Program() step.Program {
	return step.Program{
		Name: "promote",
		Summary: "Copies an image or a set of them, by digest and with all platforms, from the testing registry to the production " +
			"registry, and never replaces another image there unless told to.",
		Step:    &Config{},
		Source:  source,
		Shared:  []string{recording.Source, gatesSource},
		Results: []string{"DESTINATION_DIGEST", "PROMOTION", "PROMOTED_IMAGE"},
		// What is copied is piped through, so that hardly anything is held, by a set of 200 images either.
		GCPercent: 25,
	}
}

// Promotion is what a run came to: the result PROMOTION.
type Promotion string

// The promotions.
const (
	Copied Promotion = "copied" // the tag was absent, and holds the image now
	Same   Promotion = "same"   // the tag held the image already; only what was missing beside it was written
	Forced Promotion = "forced" // the tag held another image, which is kept under a backup tag
	Undone Promotion = "undone" // the tag held an image that had replaced another by force, which it holds again
	Mixed  Promotion = "mixed"  // a set's: not the same for all of its images
)

// Run implements step.Step.
func (c *Config) Run(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	p, err := c.open(rt)
	if err != nil {
		return step.Outcome{}, err
	}
	defer p.close()
	ctx, end := context.WithCancel(ctx)
	defer end()
	err = p.run(ctx)
	if c.DryRun {
		err = errors.Join(err, p.writePlan(ctx, err))
	}
	p.summarize(rt.Stdout, err)
	outcome := step.Outcome{Report: p.report()}
	if err == nil && !c.DryRun {
		outcome.Results = p.results()
	}
	return outcome, err
}

// promotion is one run.
type promotion struct {
	config         *Config
	rt             *step.Runtime
	source, target *registry.Registry
	force          force
	items          []*item // in the order in which they were given
	set            bool    // IMAGES or IMAGES_FILE, be it of one image
	copier         registry.Copier
}

// open makes a run of the configuration, without connecting.
func (c *Config) open(rt *step.Runtime) (*promotion, error) {
	orders, err := c.orders()
	if err != nil {
		return nil, err
	}
	source, err := c.side(rt, c.Source, "source registry", false)
	if err != nil {
		return nil, err
	}
	target, err := c.side(rt, c.Target, "target registry", !c.DryRun)
	if err != nil {
		return nil, err
	}
	p := &promotion{
		config: c,
		rt:     rt,
		source: source,
		target: target,
		force:  force{any: c.Force, only: c.ForceReplaces, reason: rt.Masked(c.ForceReason), backup: image.Template(c.BackupTag)},
		set:    c.Image == "",
	}
	var problems []error
	for _, one := range orders {
		it, err := newItem(one, source, target)
		problems = append(problems, err)
		p.items = append(p.items, it)
	}
	if err := errors.Join(problems...); err != nil {
		return nil, err
	}
	return p, c.floatingTags(p.items)
}

func (p *promotion) close() {
	p.source.Close()
	p.target.Close()
}

// openedAhead is how many calls follow the first at a time, at the least: for what is attached to an image, its two lists
// of referrers and cosign's three tags.
const openedAhead = 5

func (c *Config) side(rt *step.Runtime, settings step.Registry, name string, written bool) (*registry.Registry, error) {
	config, err := settings.Access(rt, name)
	if err != nil {
		return nil, err
	}
	config.Patience, config.Writes, config.Ahead = c.patience, written, openedAhead
	return registry.Open(config)
}

// run goes through the phases.
func (p *promotion) run(ctx context.Context) error {
	if err := p.look(ctx); err != nil || p.config.DryRun {
		return err
	}
	return p.write(ctx)
}

// look finds out all that can be found out without writing.
func (p *promotion) look(ctx context.Context) error {
	resolve := func(phase context.Context, it *item) error {
		if !p.config.DryRun {
			p.copier.Prepare(ctx, it.to) // its answer is for a later phase
		}
		return p.resolve(phase, it)
	}
	if p.config.Undo {
		resolve = p.undo
	}
	if err := each(ctx, p.items, parallelLookups, resolve); err != nil {
		return err
	}
	if err := each(ctx, p.items, parallelLookups, p.decideFloating); err != nil {
		return err
	}
	if p.config.plan != nil {
		if err := p.follow(p.config.plan); err != nil {
			return err
		}
	}
	return each(ctx, p.items, parallelLookups, p.gates)
}

// write does what was decided: no tag moves before all that any of them leads to is there.
func (p *promotion) write(ctx context.Context) error {
	if err := p.copy(ctx, p.items); err != nil {
		return err
	}
	if err := each(ctx, p.items, parallelLookups, p.recordAndLook); err != nil {
		return err
	}
	if err := each(ctx, p.with(Forced, Undone), parallelLookups, p.backUp); err != nil {
		return err
	}
	if err := each(ctx, p.with(Same), parallelLookups, p.confirmRecord); err != nil {
		return err
	}
	if err := p.tags(ctx, p.with(Copied, Forced, Undone)); err != nil {
		return err
	}
	return each(ctx, p.items, parallelLookups, p.moveFloating)
}

// with returns the items of these promotions.
func (p *promotion) with(promotions ...Promotion) []*item {
	var some []*item
	for _, it := range p.items {
		if slices.Contains(promotions, it.promotion()) {
			some = append(some, it)
		}
	}
	return some
}

// does returns the word for what a run does, or only would do.
func (p *promotion) does(word, would string) string {
	if p.config.DryRun {
		return would
	}
	return word
}

// results returns what is handed on. A set's digests and images have no room in Tekton's results, and no single step
// takes them: the report has them.
func (p *promotion) results() []step.Result {
	if p.set {
		return []step.Result{{Name: "PROMOTION", Value: string(p.outcome())}}
	}
	only := p.items[0]
	return []step.Result{
		{Name: "DESTINATION_DIGEST", Value: only.image.Digest.String()},
		{Name: "PROMOTION", Value: string(only.promotion())},
		{Name: "PROMOTED_IMAGE", Value: only.name()}, // which the steps that follow take as IMAGE
	}
}

// outcome returns the promotion that all items have, or Mixed.
func (p *promotion) outcome() Promotion {
	all := p.items[0].promotion()
	for _, it := range p.items {
		if it.promotion() != all {
			return Mixed
		}
	}
	return all
}
