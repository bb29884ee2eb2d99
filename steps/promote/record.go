package promote

import (
	"context"
	"errors"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/record"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// record attaches the promotion's record to the image in the target registry. It is called for each item when all that
// its digest leads to is there, and before any tag of the set moves: a tag never holds an image without its record.
// Where the image was there already, a record is written if none says so.
func (p *promotion) record(ctx context.Context, it *item) error {
	if !p.config.Record {
		return nil
	}
	if it.recorded {
		return nil
	}
	if it.record == nil {
		if err := p.makeRecord(ctx, it); err != nil {
			return err
		}
	}
	confirm, err := it.record.AttachAhead(ctx, it.to)
	it.confirm = confirm
	if unlisted, stored := errors.AsType[*registry.UnlistedError](err); stored {
		p.rt.Log.Warn().Err(unlisted).Msgf("the record is in the registry, which cannot tell of it: only %s leads there", it.record.Reference(it.to))
		err = nil
	}
	if err != nil {
		return unrecorded(err)
	}
	it.report.Record = it.record.Reference(it.to)
	p.rt.Log.Info().Bool("signed", p.config.Records.Signer() != nil).Msgf("recorded the promotion of %s", it.report.Target)
	return nil
}

// recordAndLook records, and has the last look at the tag meanwhile where the tag is the next that is written: of one
// image that replaces none.
func (p *promotion) recordAndLook(ctx context.Context, it *item) error {
	if p.set || !it.looked.IsZero() || it.promotion() != Copied {
		return p.record(ctx, it)
	}
	both, bothContext := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		return p.record(bothContext, it)
	})
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		return p.lookAgain(bothContext, it)
	})
	return both.Wait()
}

// confirmRecord makes sure that the record, which was listed before the tag was written, is still listed: another program
// may have listed its own at the same time.
func (p *promotion) confirmRecord(ctx context.Context, it *item) error {
	if it.confirm == nil {
		return nil
	}
	err := it.confirm(ctx)
	if unlisted, stored := errors.AsType[*registry.UnlistedError](err); stored {
		p.rt.Log.Warn().Err(unlisted).Msgf("the record is in the registry, which cannot tell of it: only %s leads there", it.record.Reference(it.to))
		err = nil
	}
	if err != nil {
		return unrecorded(err)
	}
	return nil
}

// isRecorded tells whether a promotion that an earlier run has made is on record: for a run that signs, signed by itself or
// by a key that is believed here.
func (p *promotion) isRecorded(ctx context.Context, it *item) (bool, error) {
	if !p.config.Record {
		return false, nil
	}
	var keys record.Keys
	if signer := p.config.Records.Signer(); signer != nil {
		keys = slices.Concat(p.config.Records.Known(), signer.Public())
	}
	return record.Promoted(ctx, it.to, it.image.Digest, it.report.Target, keys)
}

// alongside makes an item's record and brings it into the target, but for its manifest, while the image is being copied:
// what it says is known, and nobody sees it.
type alongside struct {
	start sync.Once
	do    func(context.Context) error
	ctx   context.Context //nolint:containedctx // of the copy that it goes along with
	stop  context.CancelFunc
	ended chan error // nil until it has begun
}

func (p *promotion) alongside(ctx context.Context, it *item) *alongside {
	a := &alongside{do: func(ctx context.Context) error { return p.makeRecord(ctx, it) }}
	a.ctx, a.stop = context.WithCancel(ctx)
	return a
}

// begin begins, the first time that it is called. The copy calls it when it has begun to write: before, the source may
// turn out to lack something, and then nothing is written.
func (a *alongside) begin() {
	a.start.Do(func() {
		ended := make(chan error, 1)
		a.ended = ended
		go func() {
			var err error
			defer func() { ended <- err }()
			defer fault.Catch(&err)
			err = a.do(a.ctx)
		}()
	})
}

// end waits until what has begun has ended; where the copy failed, it breaks it off and returns the copy's error.
func (a *alongside) end(copied error) error {
	defer a.stop()
	if copied != nil {
		a.stop()
	}
	a.start.Do(func() {}) // from now on nothing begins
	if a.ended == nil {
		return copied
	}
	err := <-a.ended
	if copied != nil {
		return copied
	}
	return err
}

// makeRecord says what is done, and uploads it.
func (p *promotion) makeRecord(ctx context.Context, it *item) error {
	run := p.config.Records.Run(p.rt, "promote")
	made, err := record.Record{
		Image: it.order.image.Name, Digest: it.image.Digest,
		Promotion: &record.Promotion{
			Kind: string(it.promotion()), From: it.report.Source, To: it.report.Target, Digest: it.image.Digest.String(),
			Replaced: it.report.Replaced, Backup: it.report.Backup, Reason: p.rt.Masked(it.report.Reason),
			Person: run.Person, Time: run.Time, Pipeline: run.Pipeline, Tool: run.Tool,
		},
	}.Artifact(it.image, p.config.Records.Signer())
	if err != nil {
		return err
	}
	if err := made.Upload(ctx, it.to); err != nil {
		return unrecorded(err)
	}
	it.record = made
	return nil
}

// unrecorded says what else there is to do where a registry has no room for records.
func unrecorded(err error) error {
	if kind := fault.KindOf(err); kind == fault.Refused || kind == fault.Unexpected {
		const hint = "this registry may not take what refers to an image: RECORD=false promotes without a record"
		return &fault.Error{Hint: hint, Err: err} // instead of what it is hinted in general
	}
	return err
}

// validateRecords returns what is wrong with the variables about records.
func (c *Config) validateRecords() error {
	problems := []error{c.Records.Validate()}
	if !c.Record && c.Records.Key != "" {
		problems = append(problems, step.Problem("RECORD_KEY is set, and RECORD=false: unset one of them"))
	}
	if len(c.RequireVerifiedIn) > 0 && c.Records.PublicKey == "" && c.Records.PublicKeyFile == "" {
		problems = append(problems, step.Problem("RECORD_PUBLIC_KEY is missing: REQUIRE_VERIFIED_IN is set"))
	}
	problems = append(problems, c.checkUndoRecord())
	switch {
	case c.MinSoak < 0:
		problems = append(problems, step.Problem("MIN_SOAK: %s is no time to wait", c.MinSoak))
	case c.MinSoak > 0 && len(c.RequireVerifiedIn) == 0:
		problems = append(problems, step.Problem("REQUIRE_VERIFIED_IN is missing: MIN_SOAK is set"))
	}
	return errors.Join(problems...)
}

// checkUndoRecord returns what keeps an undoing's own record from being written, or from being believed. Only that record
// tells the same run started again that nothing is left to do: it would else read an older one, and go back further.
func (c *Config) checkUndoRecord() error {
	signer, known := c.Records.Signer(), c.Records.Known()
	switch {
	case !c.Undo:
		return nil
	case !c.Record:
		return step.Problem("RECORD=false and UNDO are both set: without a record, the same job started again would undo once more")
	case len(known) > 0 && c.Records.Key == "":
		return step.Problem("RECORD_KEY is missing: UNDO is set, and where RECORD_PUBLIC_KEY is, only a signed record keeps " +
			"the same job started again from undoing once more")
	case len(known) > 0 && signer != nil && !known.Has(signer):
		return step.Problem("RECORD_KEY is none of RECORD_PUBLIC_KEY: UNDO is set, and a record that is not believed does not keep " +
			"the same job started again from undoing once more")
	}
	return nil
}
