package promote

import (
	"context"
	"errors"
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
		return shut(ctx, it, "reading what was verified", err)
	}
	var problems []error
	now := time.Now()
	for _, environment := range p.config.RequireVerifiedIn {
		problems = append(problems, record.Verified(records, it.order.image.Name, strings.TrimSpace(environment), p.config.MinSoak, now))
	}
	return fault.WithHint(fault.At(it.from.Side(), errors.Join(problems...)),
		"deploy the image there and let verify, with RECORD_KEY, find it right; the soak begins then")
}
