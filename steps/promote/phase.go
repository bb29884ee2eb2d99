package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

const (
	// parallelLookups is how many images are looked up, checked, or have their tags read at a time: each is a few small
	// requests, and what they cost is the wait for the answers.
	parallelLookups = 16
	// parallelCopies is how many images are copied at a time. Each has several layers under way by itself.
	parallelCopies = 4
	// mostProblems is how many images' problems the last line of a set tells; the report tells them all.
	mostProblems = 5
)

// each does one phase's work for all items, some at a time, and notes on each item what went wrong with it. One that is
// refused or not found does not keep the others from being tried, so that a person hears of all such images at once;
// what would befall the others too, such as a registry that cannot be reached, ends the phase.
func each(ctx context.Context, items []*item, parallel int, do func(context.Context, *item) error) error {
	phase, stop := context.WithCancel(ctx)
	defer stop()
	group := errgroup.Group{}
	group.SetLimit(parallel)
	for _, it := range items {
		group.Go(func() error {
			defer func() {
				if it.err != nil && !ofOneImage(it.err) {
					stop()
				}
			}()
			defer fault.Catch(&it.err)
			if phase.Err() == nil {
				it.err = do(phase, it)
			}
			return nil
		})
	}
	_ = group.Wait() // the items have the errors
	if ctx.Err() != nil {
		return interrupted(ctx, items)
	}
	var problems []error
	for _, it := range items {
		if errors.Is(it.err, context.Canceled) && phase.Err() != nil {
			it.err = nil // it was stopped for another's sake
		}
		if it.err != nil {
			it.report.Error = it.err.Error()
			problems = append(problems, it.err)
		}
	}
	return together(problems, len(items))
}

// ofOneImage tells whether an error says something of its image alone.
func ofOneImage(err error) bool {
	switch fault.KindOf(err) {
	case fault.Refused, fault.NotFound:
		return true
	}
	return false
}

// interrupted returns the error of an item that the end of ctx broke off, or says so itself.
func interrupted(ctx context.Context, items []*item) error {
	for _, it := range items {
		if it.err != nil {
			return it.err
		}
	}
	return context.Cause(ctx)
}

// together makes one error of the problems of several images: the one that ended the phase first, since it decides
// about the exit status.
func together(problems []error, images int) error {
	if len(problems) < 2 {
		return errors.Join(problems...)
	}
	slices.SortStableFunc(problems, func(a, b error) int {
		switch {
		case ofOneImage(a) == ofOneImage(b):
			return 0
		case ofOneImage(b):
			return -1
		}
		return 1
	})
	told := problems[:min(len(problems), mostProblems)]
	err := fmt.Errorf("%d of %d images: %w", len(problems), images, errors.Join(told...))
	if more := len(problems) - len(told); more > 0 {
		err = fmt.Errorf("%w\nand %d more, which REPORT_FILE tells", err, more)
	}
	return err
}
