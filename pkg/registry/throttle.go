package registry

import (
	"context"
	"math"
	"net/http"
	"sync"
	"time"
)

// throttle is how many calls to one registry may wait for their answers at a time, and from when on. A registry that
// says "too many requests" halves the number and is left alone for a while; answers let it grow again.
type throttle struct {
	lanes lanes

	mu       sync.Mutex
	limit    int
	answers  int       // since limit changed
	lowered  time.Time // when limit was halved last
	notUntil time.Time // nothing is sent before
	quickest time.Duration
}

func newThrottle() *throttle { return &throttle{limit: mostLanes, quickest: math.MaxInt64} }

// now returns how many calls may be under way.
func (t *throttle) now() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.quickest < near {
		return min(t.limit, nearLanes)
	}
	return t.limit
}

// allowed is now for what takes its time however near the registry is.
func (t *throttle) allowed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.limit
}

// A registry that answers within near is not waited for, but at work: more calls than a few keep it busy, and would
// only be so many connections to open.
const (
	near      = 10 * time.Millisecond
	nearLanes = 16
)

// pause waits until calls may be sent again.
func (t *throttle) pause(ctx context.Context) error {
	for {
		t.mu.Lock()
		wait := time.Until(t.notUntil)
		t.mu.Unlock()
		if wait <= 0 {
			return nil
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// answered takes in an answer to a call that was sent at a time.
func (t *throttle) answered(answer *http.Response, sent time.Time, patience Patience) {
	took, asked := time.Since(sent), askedPause(answer.Header, time.Now())
	t.mu.Lock()
	defer t.mu.Unlock()
	t.quickest = min(t.quickest, took)
	if answer.StatusCode != http.StatusTooManyRequests && (answer.StatusCode != http.StatusServiceUnavailable || asked == 0) {
		if t.answers++; t.answers >= t.limit && t.limit < mostLanes {
			t.limit, t.answers = t.limit+1, 0
		}
		return
	}
	if asked > patience.LongestAsked {
		return // longer than anybody waits: the call ends
	}
	// Calls that were under way when it said so say nothing new.
	if sent.After(t.lowered) {
		t.limit, t.answers, t.lowered = max(1, t.limit/2), 0, time.Now()
	}
	if until := time.Now().Add(max(asked, patience.First)); until.After(t.notUntil) {
		t.notUntil = until
	}
}
