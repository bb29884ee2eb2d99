package registry

import (
	"context"
	"errors"
	"io"
	"time"
)

// guard ends a message's context when nothing has moved for a while.
type guard struct {
	ctx     context.Context //nolint:containedctx // it is the message's own
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	silence time.Duration
}

func watch(ctx context.Context, silence time.Duration) *guard {
	watched, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(silence, func() { cancel(silenceError(silence)) })
	return &guard{ctx: watched, cancel: cancel, timer: timer, silence: silence}
}

func (g *guard) reset() { g.timer.Reset(g.silence) }

func (g *guard) end() {
	g.timer.Stop()
	g.cancel(nil)
}

// watchedBody tells the guard of every movement.
type watchedBody struct {
	io.ReadCloser
	guard *guard
	outer context.Context //nolint:containedctx // the caller's, to tell its end from silence
	last  bool            // with this body the exchange ends
}

func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.guard.reset()
	}
	if err != nil && !errors.Is(err, io.EOF) && b.last {
		if cause := context.Cause(b.guard.ctx); cause != nil {
			err = cause
		}
		err = lost(b.outer, err)
	}
	return n, err
}

func (b *watchedBody) Close() error {
	err := b.ReadCloser.Close()
	if b.last {
		b.guard.end()
	}
	return err
}
