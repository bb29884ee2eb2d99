package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dockline/pkg/fault"
	"dockline/pkg/record"
)

// gateVerified asks whether the image was verified in the environments that REQUIRE_VERIFIED_IN names, for as long as
// MIN_SOAK says. Signed records in the source registry are the only witnesses. What they say must be known for certain:
// one that is listed and cannot be read may be the one that says no.
func (p *promotion) gateVerified(ctx context.Context, it *item) error {
	if len(p.config.RequireVerifiedIn) == 0 {
		return nil
	}
	records, err := record.Verifications(ctx, it.from, it.image.Digest, p.config.Records.Known())
	if err != nil {
		return closed(ctx, it, err)
	}
	var problems []error
	now := time.Now()
	for _, environment := range p.config.RequireVerifiedIn {
		problems = append(problems, record.Verified(records, it.order.image.Name, strings.TrimSpace(environment), p.config.MinSoak, now))
	}
	return fault.WithHint(fault.At(it.from.Side(), errors.Join(problems...)),
		"deploy the image there and let verify, with RECORD_KEY, find it right; the soak begins then")
}

// closed gives what keeps a gate from being asked the kind that it has for the run: a rule that forbids, unless it is a
// registry that is away, that refuses us, or the end of the run.
func closed(ctx context.Context, it *item, err error) error {
	err = fmt.Errorf("asking whether %q was verified: %w", it.report.Source, err)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Denied, fault.TimedOut:
		return err
	}
	if ctx.Err() != nil {
		return err
	}
	return fault.At(it.from.Side(), fault.New(fault.Refused, "%w", err))
}
