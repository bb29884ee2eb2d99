package promote

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"dockline/pkg/fault"
)

// tagState says what became of a tag that was written before the set failed.
type tagState string

// The states of such a tag.
const (
	tagPutBack tagState = "put back" // holds again what it held before
	tagRemoved tagState = "removed"  // is absent again
	tagTaken   tagState = "taken"    // somebody else has written it meanwhile
	tagStays   tagState = "stays"    // still holds the promoted image
	tagUnknown tagState = "unknown"  // cannot be read
)

const (
	// putBackWithin is how long putting back may take after a signal: with finishWithin before it, less than the four and
	// a half seconds that a step has.
	putBackWithin = 2500 * time.Millisecond
	// putBackLongest is when a registry that does not answer is given up: the tags that stay are told, and a person can
	// act.
	putBackLongest = time.Minute
	// mostNamed is how many tags of a kind the last line names; the report names them all.
	mostNamed = 20
)

// putBack undoes what was written of a set's tags, since not all of them could be, and returns cause with what came of
// it. A tag is touched only while it holds what this run wrote. One image alone has nothing to be whole with.
func (p *promotion) putBack(ctx context.Context, items []*item, cause error) error {
	var tried []*item
	for _, it := range items {
		if it.tried {
			tried = append(tried, it)
		}
	}
	if len(items) < 2 || len(tried) == 0 {
		return cause
	}
	p.rt.Log.Warn().Err(cause).Msgf("not all of the set's tags could be written: putting back those that were, at most %d", len(tried))
	longer, done := outlasting(ctx, putBackWithin)
	defer done()
	longer, cancel := context.WithTimeout(longer, putBackLongest)
	defer cancel()
	concurrently(tried, parallelLookups, func(it *item) {
		state, err := it.putBack(longer)
		it.report.Tag = state
		p.rt.Log.Warn().AnErr("because", err).Msgf("%s: %s", it.report.Target, state)
	})
	return p.afterPutBack(ctx, tried, cause)
}

// putBack has the tag hold what it held before, if it holds what this run wrote.
func (it *item) putBack(ctx context.Context) (tagState, error) {
	now, present, err := it.to.Lookup(ctx, it.tag)
	switch {
	case err != nil:
		return tagUnknown, err
	case !present && it.held == nil:
		return tagRemoved, nil
	case present && it.held != nil && now.Digest == it.held.Digest:
		return tagPutBack, nil
	case !present || now.Digest != it.image.Digest:
		return tagTaken, nil
	case it.held != nil:
		err = it.to.PutTag(ctx, *it.held, it.tag, time.Now(), it.isNotOurs)
	default:
		_, err = it.to.DeleteTag(ctx, it.tag, time.Now(), it.isNotOurs)
	}
	// Whether it was done is what the registry holds: answers are lost, and some take a DELETE and do nothing.
	now, present, unread := it.to.Lookup(ctx, it.tag)
	switch {
	case unread != nil:
		return tagUnknown, errors.Join(err, unread)
	case present && now.Digest == it.image.Digest:
		return tagStays, err
	case !present && it.held == nil:
		return tagRemoved, nil
	case present && it.held != nil && now.Digest == it.held.Digest:
		return tagPutBack, nil
	}
	return tagTaken, nil
}

// isNotOurs tells whether the tag holds anything but what this run wrote: then it is left.
func (it *item) isNotOurs(ctx context.Context) (bool, error) {
	now, present, err := it.to.Lookup(ctx, it.tag)
	return err == nil && (!present || now.Digest != it.image.Digest), err
}

// afterPutBack tells what became of the tags: in the error's text or, after a signal, whose last line has no room for
// it, in the hint.
func (p *promotion) afterPutBack(ctx context.Context, tried []*item, cause error) error {
	var stay, taken []string
	for _, it := range tried {
		switch it.report.Tag {
		case tagStays, tagUnknown, "":
			stay = append(stay, it.report.Target)
		case tagTaken:
			taken = append(taken, it.report.Target)
		}
	}
	others := ""
	if len(taken) > 0 {
		others = "; somebody else has written these since, and they were left: " + named(taken)
	}
	interrupted := ctx.Err() != nil
	switch {
	case len(stay) == 0 && interrupted:
		return &fault.Error{Err: cause, Hint: "no tag of the set has moved, or it was put back" + others +
			"; start the same step again to complete the work"}
	case len(stay) == 0:
		return fmt.Errorf("%w; the set's other tags are as they were%s", cause, others)
	}
	moved := "these tags hold the new image, or it is unknown, and could not be put back: " + named(stay) + others
	const again = "start this step again: it completes the set"
	if interrupted {
		return &fault.Error{Kind: fault.Unavailable, Side: tried[0].to.Side(), Hint: moved + "; " + again, Err: cause}
	}
	return &fault.Error{Kind: fault.Unavailable, Side: tried[0].to.Side(), Hint: again, Err: fmt.Errorf("%w; %s", cause, moved)}
}

// named lists some references.
func named(references []string) string {
	var text strings.Builder
	for i, reference := range references {
		if i == mostNamed {
			fmt.Fprintf(&text, " and %d more, which REPORT_FILE names", len(references)-mostNamed)
			break
		}
		if i > 0 {
			text.WriteString(", ")
		}
		fmt.Fprintf(&text, "%q", reference)
	}
	return text.String()
}
