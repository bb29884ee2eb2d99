package registry

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"sync"

	"dockline/pkg/fault"
)

// spoken is the scheme that a registry speaks.
type spoken int32

const (
	unknown spoken = iota // only where plain http is allowed: nobody has asked yet
	secure
	plain
)

func (s spoken) scheme() string {
	if s == plain {
		return "http"
	}
	return "https"
}

// scheme finds out what is spoken, if that is not known yet, by a request that asks for nothing.
func (c *client) scheme(ctx context.Context) (string, error) {
	if spoken(c.spoken.Load()) == unknown {
		// Each caller repeats: repeating here too would multiply the attempts at a registry that is gone.
		answer, err := c.race(ctx, call{method: http.MethodGet, at: "/v2/"})
		if err != nil {
			return "", err
		}
		discard(answer)
	}
	return spoken(c.spoken.Load()).scheme(), nil
}

// race makes the first call of all, where plain http is allowed, in both schemes at once and without credentials, so
// that finding out which one is spoken costs no round trip of its own. Where https is spoken, its answer is the one that
// counts, whatever plain http said before: an answer in plain http counts when https has failed.
func (c *client) race(ctx context.Context, request call) (*http.Response, error) {
	type result struct {
		answer *http.Response
		err    error
		cancel context.CancelFunc
	}
	handshake := make(chan struct{})
	start := func(scheme spoken) (<-chan result, context.CancelFunc) {
		lane, cancel := context.WithCancel(ctx)
		if scheme == secure {
			var once sync.Once
			lane = httptrace.WithClientTrace(lane, &httptrace.ClientTrace{
				GotConn: func(httptrace.GotConnInfo) { once.Do(func() { close(handshake) }) },
			})
		}
		done := make(chan result, 1)
		go func() {
			one := result{cancel: cancel}
			defer func() { done <- one }()
			defer fault.Catch(&one.err)
			var at *url.URL
			if at, one.err = (&url.URL{Scheme: scheme.scheme(), Host: c.host}).Parse(request.at); one.err == nil {
				one.answer, one.err = c.follow(lane, request, at, "") //nolint:bodyclose // the caller's, or dropped below
			}
		}()
		return done, cancel
	}
	inSecret, endSecure := start(secure)
	inPlain, endPlain := start(plain)
	// drop ends the one that has lost, when it is there.
	drop := func(loser <-chan result, end context.CancelFunc) {
		end()
		go func() {
			var err error
			defer fault.Catch(&err)
			if one := <-loser; one.answer != nil {
				_ = one.answer.Body.Close()
			}
		}()
	}
	win := func(scheme spoken, one result) (*http.Response, error) {
		c.spoken.CompareAndSwap(int32(unknown), int32(scheme))
		if one.err != nil {
			one.cancel()
			return nil, one.err
		}
		endWith(one.answer, one.cancel)
		return one.answer, nil
	}
	var first result
	select {
	case <-handshake:
		drop(inPlain, endPlain)
		return win(secure, <-inSecret)
	case first = <-inSecret:
	}
	select {
	case <-handshake: // it came at the same time
		drop(inPlain, endPlain)
		return win(secure, first)
	default:
	}
	endSecure()
	second := <-inPlain
	notTLS := errors.Is(first.err, errNotTLS)
	switch {
	case second.err != nil && (notTLS || ctx.Err() != nil):
		endPlain()
		return nil, second.err
	case second.err != nil:
		endPlain()
		return nil, first.err
	case second.answer.StatusCode == http.StatusBadRequest && !notTLS:
		// What servers of https say to plain http: the connection before was lost by chance.
		endPlain()
		_ = second.answer.Body.Close()
		return nil, first.err
	}
	return win(plain, second)
}
