package cluster

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// Patience says how long an answer is waited for, and how often and how soon a call is repeated.
type Patience struct {
	Attempts int           // calls in all, the first included
	First    time.Duration // pause before the second call; it doubles from there on
	Longest  time.Duration // longest pause of our own
	// LongestAsked is the longest pause that the API's Retry-After is followed for. A longer one ends the attempts.
	LongestAsked time.Duration
	Silence      time.Duration // longest wait for one answer
	Poll         time.Duration // pause between two looks where the API offers no watch
}

// DefaultPatience sees an API server through a restart: about 15 seconds of pauses in all, and what it asks for by
// Retry-After.
var DefaultPatience = Patience{
	Attempts: 6, First: 500 * time.Millisecond, Longest: 8 * time.Second, LongestAsked: time.Minute,
	Silence: 30 * time.Second, Poll: 2 * time.Second,
}

func (p Patience) orDefault() Patience {
	if p == (Patience{}) {
		return DefaultPatience
	}
	return p
}

// Retry says that a call is about to be repeated.
type Retry struct {
	Attempt int           // number of the coming attempt: 2 for the first repetition
	Of      int           // attempts in all
	Wait    time.Duration // pause before it
	Err     error         // why
}

// Pause tells the hook of a repetition and waits for it, or returns the reason why ctx ended first.
func (c *Cluster) Pause(ctx context.Context, again Retry) error {
	if c.retrying != nil {
		c.retrying(again)
	}
	return Sleep(ctx, again.Wait)
}

// repeat calls until an answer is final: at most Patience.Attempts times while the API is overloaded or away.
//
// A write whose answer was lost may be made twice that way. That is harmless, since each of ours is bound to a
// resource version or creates an object: the second one is answered by a conflict, on which the caller reads again.
func (c *Cluster) repeat(ctx context.Context, doing string, do func(context.Context) error) error {
	pause := c.patience.First
	for attempt := 1; ; attempt++ {
		var told call
		err := do(context.WithValue(ctx, callKey{}, &told))
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s: %w", doing, Ended(ctx))
		}
		if told.silent != "" { // then the time limit of the call is all that the error speaks of
			err = &silentPlugin{told.silent}
		}
		asked := told.asked
		if seconds, ok := apierrors.SuggestsClientDelay(err); ok {
			asked = max(asked, time.Duration(seconds)*time.Second)
		}
		tooLong := asked > c.patience.LongestAsked
		if tooLong {
			err = fmt.Errorf("%w; it asks to wait for %s", err, asked)
		}
		if !temporary(err) || attempt >= c.patience.Attempts || tooLong {
			return c.explain(doing, attempt, err)
		}
		again := Retry{Attempt: attempt + 1, Of: c.patience.Attempts, Wait: max(pause, asked), Err: fmt.Errorf("%s: %w", doing, err)}
		if err := c.Pause(ctx, again); err != nil {
			return fmt.Errorf("%s: %w", doing, err)
		}
		pause = min(2*pause, c.patience.Longest)
	}
}
