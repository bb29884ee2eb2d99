package registry

import (
	"context"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"
)

// Patience says how long an answer is waited for, and how often and how soon a call is repeated.
type Patience struct {
	Attempts int           // calls in all, the first included
	First    time.Duration // pause before the second call; it doubles from there on; up to half of each is at random
	Longest  time.Duration // longest pause of our own
	// LongestAsked is the longest pause that a registry's Retry-After is followed for. A longer one ends the attempts.
	LongestAsked time.Duration
	// Silence is how long nothing may move, in either direction, before a call counts as lost. An answer that is short by
	// its nature (a manifest, a token, an error) must be there in whole within it. A blob may take as long as it likes, if
	// it moves by 1 KiB a second on the average of twenty times Silence.
	Silence time.Duration
}

// DefaultPatience sees a registry through a restart behind a load balancer: about 15 seconds of pauses in all, and what
// the registry asks for by Retry-After.
var DefaultPatience = Patience{
	Attempts: 6, First: 500 * time.Millisecond, Longest: 10 * time.Second,
	LongestAsked: time.Minute, Silence: time.Minute,
}

// uploadSilence multiplies Silence for uploads: a registry that keeps its blobs in an object store copies a large one
// once more before it answers.
const uploadSilence = 5

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

// wait returns the pause before call number next (2, 3, …).
func (p Patience) wait(next int, asked time.Duration) time.Duration {
	wait := p.First
	for i := 2; i < next && wait < p.Longest; i++ {
		wait *= 2
	}
	wait = min(wait, p.Longest)
	if wait > 0 {
		wait = wait/2 + rand.N(wait/2+1) //nolint:gosec // spreads the load, protects nothing
	}
	return max(wait, asked)
}

// sleep waits, and returns ctx's error when that ends first.
func sleep(ctx context.Context, wait time.Duration) error {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// askedPause reads Retry-After, in seconds or as a date (RFC 9110, section 10.2.3).
func askedPause(header http.Header, now time.Time) time.Duration {
	value := header.Get("Retry-After")
	if seconds, err := strconv.Atoi(value); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if date, err := http.ParseTime(value); err == nil && date.After(now) {
		return date.Sub(now)
	}
	return 0
}
