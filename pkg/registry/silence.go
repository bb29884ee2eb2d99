package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync/atomic"
	"time"
)

// guard ends a message's context when nothing has moved for a while, or when an answer that is short by its nature is
// not there in whole.
type guard struct {
	ctx     context.Context //nolint:containedctx // it is the message's own
	cancel  context.CancelCauseFunc
	timer   *time.Timer
	silence time.Duration // that may pass between two movements
	whole   time.Duration // that a short answer may take
	hurried atomic.Bool
	then    func() // called at the end; nil is nothing
}

func watch(ctx context.Context, silence, whole time.Duration) *guard {
	g := &guard{silence: silence, whole: whole}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	g.timer = time.AfterFunc(silence, func() {
		if g.hurried.Load() {
			g.cancel(unfinishedError(whole))
		} else {
			g.cancel(silenceError(silence))
		}
	})
	return g
}

// moved tells the guard of a movement.
func (g *guard) moved() {
	if !g.hurried.Load() {
		g.timer.Reset(g.silence)
	}
}

// hurry has the rest of the answer come in time as a whole: no movement counts from now on.
func (g *guard) hurry() {
	if !g.hurried.Swap(true) {
		g.timer.Reset(g.whole)
	}
}

func (g *guard) end() {
	g.timer.Stop()
	g.cancel(nil)
	if g.then != nil {
		g.then()
	}
}

// endWith has then called when the answer's body is closed.
func endWith(answer *http.Response, then func()) {
	if body, ok := answer.Body.(*receivedBody); ok {
		body.guard.then = then
	}
}

// whole returns the body of an answer that is short by its nature: a manifest, a token, an error. It must be read within
// Patience.Silence, or a server could hold us for ever with a byte now and then.
func whole(answer *http.Response) io.Reader {
	if body, ok := answer.Body.(*receivedBody); ok {
		body.guard.hurry()
	}
	return answer.Body
}

// sentBody is the body of a message on its way out. Between two Reads it is the other end that takes its time.
type sentBody struct {
	io.ReadCloser
	guard *guard
	pace  pace
	last  int // bytes of the Read before
}

func (b *sentBody) Read(p []byte) (int, error) {
	if err := b.pace.moved(b.last); err != nil {
		b.guard.cancel(err)
		return 0, err
	}
	n, err := b.ReadCloser.Read(p)
	b.last = n
	b.pace.wait()
	if n > 0 {
		b.guard.moved()
	}
	return n, err
}

// receivedBody is the body of an answer, with which the exchange ends.
type receivedBody struct {
	io.ReadCloser
	guard *guard
	outer context.Context //nolint:containedctx // the caller's, to tell its end from silence
	// secrets, when set, returns what the server may know of us, and repeat.
	secrets func() []string
}

func (b *receivedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		b.guard.moved()
	}
	if err != nil && !errors.Is(err, io.EOF) {
		if cause := context.Cause(b.guard.ctx); cause != nil {
			err = cause
		}
		err = lost(b.outer, err)
	}
	return n, err
}

func (b *receivedBody) Close() error {
	err := b.ReadCloser.Close()
	b.guard.end()
	return err
}
