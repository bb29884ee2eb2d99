package registry

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"

	"dockline/pkg/fault"
)

// client makes the calls to one registry: authorized, watched for silence, and repeated while that can help.
type client struct {
	host, side, agent string
	writes            bool
	patience          Patience
	retrying          func(Retry)
	onSecret          func(string)
	transports        transports
	auth              *authority
	throttle          *throttle
	spoken            atomic.Int32 // a spoken, found out by the first call where plain http is allowed
}

// call is one request of the protocol.
type call struct {
	method string
	at     string // path and query below https://HOST, or an absolute URL that the registry gave
	header map[string]string
	body   []byte
	stream io.Reader // instead of body: can be sent once only
	size   int64     // of the stream
	scopes []scope
	// elsewhere lets a redirect lead to another host, without credentials: right for blobs, whose content is hashed.
	elsewhere bool
	// bulk has the call carried by a connection of its own.
	bulk bool
}

// do makes the call, again and again while its answer is a transient status or there is none. The caller closes the
// answer's body. A status that means a failure is not an error here.
func (c *client) do(ctx context.Context, request call) (*http.Response, error) {
	var answer *http.Response
	err := c.repeat(ctx, func() error {
		var err error
		answer, err = c.once(ctx, request) //nolint:bodyclose // the caller closes it
		if err == nil && transientStatus(answer.StatusCode) {
			err = failure(answer)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return answer, nil
}

// repeat calls attempt until it returns no error that another attempt may mend.
func (c *client) repeat(ctx context.Context, attempt func() error) error {
	for number := 1; ; number++ {
		err := attempt()
		if err == nil || !transient(err) {
			return err
		}
		if ctx.Err() != nil {
			return lost(ctx, ctx.Err()) // and not what would have been tried again
		}
		asked := pauseAskedBy(err)
		if number >= c.patience.Attempts || asked > c.patience.LongestAsked {
			return err
		}
		wait := c.patience.wait(number+1, asked)
		if c.retrying != nil {
			c.retrying(Retry{Attempt: number + 1, Of: c.patience.Attempts, Wait: wait, Err: err})
		}
		if err := sleep(ctx, wait); err != nil {
			return err
		}
	}
}

// once makes the call one time: with the Authorization that is known to be wanted, and a second time when the answer
// is 401 and another Authorization can be given. Only the registry's own host may say which: the credentials go to the
// token service that it names.
func (c *client) once(ctx context.Context, request call) (*http.Response, error) {
	for renewed := false; ; renewed = true {
		answer, err := c.try(ctx, request)
		if err != nil || renewed || answer.StatusCode != http.StatusUnauthorized || canonicalHost(answer.Request.URL.Host) != c.host {
			return answer, err
		}
		if !c.auth.learn(answer, request.scopes) {
			return answer, nil
		}
		if request.stream != nil {
			return nil, &staleError{failure(answer)}
		}
		discard(answer)
	}
}

// try makes the call with the Authorization that is known to be wanted.
func (c *client) try(ctx context.Context, request call) (*http.Response, error) {
	reading := request.method == http.MethodGet || request.method == http.MethodHead
	if spoken(c.spoken.Load()) == unknown && reading {
		return c.race(ctx, request)
	}
	at, err := c.locate(ctx, request.at)
	if err != nil {
		return nil, err
	}
	header, err := c.auth.header(ctx, c, request.scopes)
	if err != nil {
		return nil, err
	}
	return c.follow(ctx, request, at, header)
}

// staleError is a 401 to a stream, which cannot be sent a second time: worth one more attempt of the whole upload, with
// another Authorization.
type staleError struct{ error }

func (e *staleError) Unwrap() error { return e.error }

// locate makes the URL of a path at the registry. A URL that the registry gave is taken to https when it says http by
// mistake, as behind a proxy that ends TLS.
func (c *client) locate(ctx context.Context, at string) (*url.URL, error) {
	scheme, err := c.scheme(ctx)
	if err != nil {
		return nil, err
	}
	base := &url.URL{Scheme: scheme, Host: c.host}
	given, err := base.Parse(at)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "reading an address that the registry gave: it is not a URL")
	}
	if canonicalHost(given.Hostname()) == canonicalHost(base.Hostname()) && scheme == "https" && given.Scheme == "http" {
		given.Scheme, given.Host = "https", c.host
	}
	if given.Scheme != scheme && given.Scheme != "https" {
		return nil, fault.New(fault.Unavailable, "following the registry to %q: it is not spoken to in https", given.Host)
	}
	return given, nil
}

const mostRedirects = 5

// follow sends the request, and goes where redirects lead as far as that is allowed. The Authorization is for the
// registry's own host alone.
func (c *client) follow(ctx context.Context, request call, at *url.URL, authorization string) (*http.Response, error) {
	for range mostRedirects {
		message, err := c.message(ctx, request, at)
		if err != nil {
			return nil, err
		}
		if authorization != "" && canonicalHost(at.Host) == c.host {
			message.Header.Set("Authorization", authorization)
		}
		answer, err := c.exchange(message, request.bulk)
		if err != nil {
			return nil, err
		}
		if !isRedirect(answer.StatusCode) {
			return answer, nil
		}
		discard(answer)
		next, err := at.Parse(answer.Header.Get("Location"))
		if err != nil || next.Host == "" {
			return nil, notARegistry("it redirects to nowhere")
		}
		away := canonicalHost(next.Host) != c.host
		switch {
		case request.method != http.MethodGet && request.method != http.MethodHead, away && !request.elsewhere:
			return nil, notARegistry("it redirects to " + next.Scheme + "://" + next.Host)
		case at.Scheme == "https" && next.Scheme != "https":
			return nil, notARegistry("it redirects from https to " + next.Scheme + "://" + next.Host)
		}
		at = next
	}
	return nil, notARegistry("it redirects without end")
}

func (c *client) message(ctx context.Context, request call, at *url.URL) (*http.Request, error) {
	var body io.Reader
	switch {
	case request.stream != nil:
		body = request.stream
	case request.body != nil:
		body = bytes.NewReader(request.body)
	}
	message, err := http.NewRequestWithContext(ctx, request.method, at.String(), body)
	if err != nil {
		return nil, fault.New(fault.Unexpected, "making a request: %w", err)
	}
	if request.stream != nil {
		message.ContentLength = request.size
		if request.size == 0 {
			message.Body = http.NoBody
		}
	}
	for key, value := range request.header {
		message.Header.Set(key, value)
	}
	message.Header.Set("User-Agent", c.agent)
	return message, nil
}

// exchange sends one message and returns its answer, whose body is watched for silence as the message was. It waits for
// its turn first, as far as the registry has asked for that.
func (c *client) exchange(message *http.Request, bulk bool) (*http.Response, error) {
	outer := message.Context()
	if err := c.throttle.pause(outer); err != nil {
		return nil, lost(outer, err)
	}
	if sending := message.Body != nil && bulk; !sending {
		// A body on its way takes no lane here: it may need another call, to the same registry, to go on.
		if err := c.throttle.lanes.enter(outer, 1, c.throttle.now); err != nil {
			return nil, lost(outer, err)
		}
		defer c.throttle.lanes.leave(1)
	}
	sent := time.Now()
	silence := c.patience.Silence
	if message.Method == http.MethodPut || message.Method == http.MethodPatch {
		silence *= uploadSilence
	}
	guard := watch(outer, silence, c.patience.Silence)
	message = message.WithContext(guard.ctx)
	if message.Body != nil && message.Body != http.NoBody {
		message.Body = &sentBody{ReadCloser: message.Body, guard: guard, pace: c.patience.pace()}
		message.GetBody = nil // a second body would go unwatched; the call is repeated as a whole
	}
	answer, err := c.transports.of(message, bulk).RoundTrip(message)
	if err != nil {
		if cause := context.Cause(guard.ctx); cause != nil {
			err = cause
		}
		guard.end()
		return nil, lost(outer, err)
	}
	c.throttle.answered(answer, sent, c.patience)
	guard.moved()
	answer.Body = &receivedBody{ReadCloser: answer.Body, guard: guard, outer: outer, secrets: c.auth.secrets}
	return answer, nil
}

// discard reads the rest of a short body, so that the connection can be used again, and closes it.
func discard(answer *http.Response) {
	_, _ = io.CopyN(io.Discard, whole(answer), 64<<10)
	_ = answer.Body.Close()
}

func isRedirect(status int) bool {
	switch status {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
		return true
	}
	return false
}
