package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"dockline/pkg/fault"
)

// gates asks every rule that an image must pass before anything is written for it, and tells of all that forbid it. A rule
// that cannot be asked is one that forbids. It is called for each item after it was decided about, those that are there
// already included.
func (p *promotion) gates(ctx context.Context, it *item) error {
	rules := []func(context.Context, *item) error{p.gatePipeline, p.gateName, p.gateLabels, p.gateSignature, p.gateVerified}
	problems := make([]error, len(rules))
	var all sync.WaitGroup
	for i, rule := range rules {
		all.Go(func() {
			defer fault.Catch(&problems[i])
			problems[i] = rule(ctx, it)
		})
	}
	all.Wait()
	problems = slices.DeleteFunc(problems, func(err error) bool { return err == nil })
	// What is refused stays refused, whatever another attempt finds out about the rest: it decides about the exit status.
	for i, err := range problems {
		if fault.KindOf(err) == fault.Refused {
			problems[0], problems[i] = problems[i], problems[0]
			break
		}
	}
	return errors.Join(problems...)
}

// shut gives what keeps a gate from being asked the kind that it has for the run: a rule that forbids, unless it is a
// registry that is away, that refuses us, or the end of the run.
func shut(ctx context.Context, it *item, asking string, err error) error {
	if err == nil || fault.KindOf(err) == fault.Refused {
		return err
	}
	err = fmt.Errorf("%s of %q: %w", asking, it.report.Source, err)
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Denied, fault.TimedOut:
		return err
	}
	if ctx.Err() != nil {
		return err
	}
	return fault.At(it.from.Side(), fault.New(fault.Refused, "%w", err))
}
