package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

const (
	// parallelLookups is how many images are looked up, checked, or have their tags read or written at a time: each is a
	// few small requests, and what they cost is the wait for the answers.
	parallelLookups = 32
	// parallelCopies is how many images are copied at a time. What they have under way is bounded for all of them.
	parallelCopies = 32
	// mostProblems is how many images' problems the last line of a set tells; the report tells them all.
	mostProblems = 5
)

// each does one phase's work for all items, some at a time, and notes on each item what went wrong with it. One that is
// refused or not found does not keep the others from being tried, so that a person hears of all such images at once;
// what would befall the others too, such as a registry that cannot be reached, ends the phase.
func each(ctx context.Context, items []*item, parallel int, do func(context.Context, *item) error) error {
	phase, stop := context.WithCancel(ctx)
	defer stop()
	concurrently(items, parallel, func(it *item) {
		if phase.Err() != nil {
			return
		}
		if it.err = do(phase, it); it.err != nil && !ofOneImage(it.err) {
			stop()
		}
	})
	if ctx.Err() == nil && phase.Err() != nil {
		for _, it := range items {
			if errors.Is(it.err, context.Canceled) {
				it.err = nil // it was stopped for another's sake
			}
		}
	}
	return problemsOf(ctx, items)
}

// concurrently calls do for all items, some at a time. A crash is noted on its item.
func concurrently(items []*item, parallel int, do func(*item)) {
	group := errgroup.Group{}
	group.SetLimit(parallel)
	for _, it := range items {
		group.Go(func() error {
			defer fault.Catch(&it.err)
			do(it)
			return nil
		})
	}
	_ = group.Wait() // the items have the errors
}

// problemsOf makes one error of what went wrong with the items. When ctx has ended, it is that.
func problemsOf(ctx context.Context, items []*item) error {
	var problems []error
	for _, it := range items {
		if it.err != nil {
			it.report.Error = it.err.Error()
			problems = append(problems, it.err)
		}
	}
	if ctx.Err() == nil {
		return together(problems, len(items))
	}
	for _, err := range problems {
		if errors.Is(err, context.Canceled) {
			return err // which says what was broken off
		}
	}
	return context.Cause(ctx)
}

// ofOneImage tells whether an error says something of its image alone.
func ofOneImage(err error) bool {
	switch fault.KindOf(err) {
	case fault.Refused, fault.NotFound:
		return true
	}
	return false
}

// together makes one error of the problems of several images: the one first that another attempt mends least, since it
// decides about the exit status. What ended the phase goes before what is said of one image alone.
func together(problems []error, images int) error {
	if len(problems) < 2 {
		return errors.Join(problems...)
	}
	slices.SortStableFunc(problems, func(a, b error) int { return rank(a) - rank(b) })
	told := problems[:min(len(problems), mostProblems)]
	err := fmt.Errorf("%d of %d images: %w", len(problems), images, errors.Join(told...))
	if more := len(problems) - len(told); more > 0 {
		err = fmt.Errorf("%w\nand %d more, which REPORT_FILE tells", err, more)
	}
	return &several{error: err, first: problems[0]}
}

func rank(err error) int {
	switch kind := fault.KindOf(err); {
	case kind == fault.Unavailable, kind == fault.TimedOut:
		return 2
	case ofOneImage(err):
		return 1
	}
	return 0
}

// several is the text of many problems, and in all else the first of them: what helps with another may not help with it.
type several struct {
	error
	first error
}

func (s *several) Unwrap() error { return s.first }

// outlasting returns a context that ends some time after ctx does: for what is better brought to its end than broken off.
func outlasting(ctx context.Context, by time.Duration) (longer context.Context, done func()) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(by, cancel) })
	return longer, func() { stop(); cancel() }
}
