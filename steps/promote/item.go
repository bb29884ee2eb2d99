package promote

import (
	"context"
	"time"

	"dockline/pkg/record"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// item is one image of the set that a run promotes. Each phase of the run fills in what it finds out. Within a phase an
// item belongs to one goroutine.
type item struct {
	order    order
	from, to *registry.Repository
	wanted   string // in the source: the version, or the digest that was asked for
	tag      string // in the target

	image      registry.Manifest           // that the source holds: after the phase resolve
	held       *registry.Manifest          // that the target's tag holds, nil when it is absent: after resolve
	backup     string                      // tag that is to keep held; "" unless it is replaced: after resolve
	preRelease bool                        // of which FLOATING_TAGS take no notice
	floating   []*floatingTag              // its own
	there      bool                        // another run has written the tag since then: after lookAgain
	tried      bool                        // this run has begun to write the tag
	confirm    func(context.Context) error // that the record is still listed; nil when there is no doubt
	looked     time.Time                   // when lookAgain found the tag as it was decided about
	recorded   bool                        // an earlier run's promotion is on record: after copy
	record     *record.Artifact            // that says what is done, once it is in the target but for its manifest
	err        error                       // of the phase that failed for it

	report imageReport

	revision, built string // for people, in a dry run alone
	platforms       []string
}

// newItem makes an item of an order, without connecting.
func newItem(asked order, source, target *registry.Registry) (*item, error) {
	it := &item{
		order:  asked,
		from:   source.Repository(asked.image.Name),
		to:     target.Repository(asked.image.Name),
		wanted: asked.image.Version,
		tag:    asked.tag,
	}
	if it.from.Same(it.to) && asked.image.Version == it.tag {
		return nil, step.Problem("SOURCE_REGISTRY and TARGET_REGISTRY are the same, %q: "+
			"an image is promoted to another registry or, with RELEASE_VERSION, to another version", it.to.Reference(it.tag))
	}
	if asked.digest != "" {
		it.wanted = asked.digest
	}
	it.report.Source, it.report.Target = it.from.Reference(it.wanted), it.to.Reference(it.tag)
	return it, nil
}

// name returns CODE/NAME:VERSION in the target.
func (it *item) name() string { return it.order.image.Name + ":" + it.tag }

// promotion returns what was decided about it.
func (it *item) promotion() Promotion { return it.report.Promotion }
