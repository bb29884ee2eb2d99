package step

import (
	"context"
	"time"
)

// waitingEvery is how often a wait is told about: often enough that a person sees it is alive, and seldom enough that
// an hour of it does not fill the log.
const waitingEvery = 10 * time.Second

// Waiting logs what is being waited for, again and again, until the returned function is called or ctx ends. A wait
// that is shorter than ten seconds is not mentioned.
func (rt *Runtime) Waiting(ctx context.Context, what func() string) (done func()) {
	ctx, done = context.WithCancel(ctx)
	started := time.Now()
	rt.background(func() {
		ticker := time.NewTicker(rt.every)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				rt.Log.Info().Str("for", time.Since(started).Round(time.Second).String()).Msg(what())
			}
		}
	})
	return done
}

// TryingAgain logs that a call to a side failed and is about to be repeated.
func (rt *Runtime) TryingAgain(side string, attempt, of int, wait time.Duration, why error) {
	rt.Log.Warn().Str("side", side).Err(why).Msgf("trying again (%d of %d) in %s", attempt, of, wait.Round(100*time.Millisecond))
}
