package promote

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/record"
	"dockline/pkg/registry"
)

// copy brings the images into the target by their digests, with all that is attached to them, telling how it goes. What
// is there already gets what is attached.
func (p *promotion) copy(ctx context.Context, items []*item) error {
	missing := p.with(Copied, Forced)
	if len(missing) > 0 {
		header := "Copying " + missing[0].image.Digest.String()
		if p.set {
			header = fmt.Sprintf("Copying %d of %d images", len(missing), len(items))
		}
		defer p.rt.Section("copy", header)()
	}
	now := time.Now()
	meter := &meter{log: p.rt.Log, started: now, told: now, running: map[string]registry.Progress{}}
	return each(ctx, p.with(Copied, Forced, Same), parallelCopies, func(ctx context.Context, it *item) error {
		if it.promotion() == Same {
			return p.complete(ctx, it, meter)
		}
		return p.copyOne(ctx, it, meter)
	})
}

// complete attaches to an image that is there already what is attached to it in the source, and finds out at the same
// time whether its promotion is on record.
func (p *promotion) complete(ctx context.Context, it *item, meter *meter) error {
	both, bothContext := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		it.recorded, err = p.isRecorded(bothContext, it)
		return err
	})
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		copied, err := p.copier.Complete(bothContext, p.job(it, func(one registry.Progress) { meter.report(it, one) }))
		p.note(it, copied)
		return err
	})
	if err := both.Wait(); err != nil {
		return err
	}
	what := ""
	if it.report.Attached > 0 {
		what = fmt.Sprintf(": attached %d manifests that were missing", it.report.Attached)
	}
	p.rt.Log.Info().Msgf("%s holds this very image already%s", it.report.Target, what)
	return nil
}

func (p *promotion) job(it *item, report func(registry.Progress)) registry.Job {
	return registry.Job{
		From: it.from, Root: it.image, To: it.to, Attachments: true, Report: report,
		Stays: record.IsPromotion, // the source's are not about this target
	}
}

// note takes in what was copied, and tells of attachments that are not as in the source.
func (p *promotion) note(it *item, copied registry.Copied) {
	it.report.Blobs, it.report.Present, it.report.Mounted, it.report.Bytes = copied.Blobs, copied.Present, copied.Mounted, copied.Bytes
	it.report.Attached = copied.Attached
	for _, left := range copied.Left {
		p.rt.Log.Warn().Str("image", it.name()).Msg(left)
	}
}

func (p *promotion) copyOne(ctx context.Context, it *item, meter *meter) error {
	started := time.Now()
	record := p.alongside(ctx, it)
	job := p.job(it, func(one registry.Progress) {
		if p.config.Record {
			record.begin()
		}
		meter.report(it, one)
	})
	if !p.set && !p.config.Record && it.promotion() == Copied {
		// Nothing else is done before the tag is written, so that the last look costs no time now.
		job.Last = func(ctx context.Context) error { return p.lookAgain(ctx, it) }
	}
	copied, err := p.copier.Copy(ctx, job)
	p.note(it, copied)
	if err = record.end(err); err != nil {
		return err
	}
	say := p.rt.Log.Info().Str("took", time.Since(started).Round(time.Millisecond).String())
	if p.set {
		say = say.Str("image", it.name())
	}
	say.Msgf("copied %d manifests, %d that are attached, and %d blobs: %s sent, %d blobs there already, %d mounted",
		copied.Manifests, copied.Attached, copied.Blobs, size(copied.Bytes), copied.Present, copied.Mounted)
	return nil
}

// progressEvery is how often a copy that goes on is told about.
const progressEvery = 5 * time.Second

// meter tells how far the copies of a run are, all together.
type meter struct {
	log     zerolog.Logger
	started time.Time

	mu      sync.Mutex
	told    time.Time
	running map[string]registry.Progress // by repository and digest
	sent    int64
}

func (m *meter) report(it *item, one registry.Progress) {
	m.mu.Lock()
	defer m.mu.Unlock()
	blob := it.to.Reference(one.Blob.Digest.String())
	switch one.State {
	case registry.Running:
		m.running[blob] = one
	default:
		delete(m.running, blob)
		if one.State == registry.Sent {
			m.sent += one.Blob.Size
		}
		m.log.Debug().Str("blob", one.Blob.Digest.String()).Str("size", size(one.Blob.Size)).Msg(string(one.State))
	}
	if time.Since(m.told) < progressEvery {
		return
	}
	m.told = time.Now()
	done, total := m.sent, m.sent
	for _, other := range m.running {
		done, total = done+other.Done, total+other.Blob.Size
	}
	m.log.Info().Str("for", time.Since(m.started).Round(time.Second).String()).
		Msgf("copying: %s of %s sent, %d layers under way", size(done), size(total), len(m.running))
}

// size returns bytes for people, in powers of 1000 as registries' pages do.
func size(bytes int64) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	value, unit := float64(bytes)/1000, 0
	for value >= 1000 && unit < 3 {
		value, unit = value/1000, unit+1
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGT"[unit])
}
