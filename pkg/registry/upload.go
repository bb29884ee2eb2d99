package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// opener starts a new stream of a blob's content. The stream ends with its context.
type opener func(ctx context.Context) (io.ReadCloser, error)

// upload writes one blob, streaming it: "POST then PUT" (distribution specification, "Pushing a blob monolithically").
// An attempt that fails is started over with a session and a stream of its own. With mountFrom, a repository of the
// same registry, the registry is first asked to take the blob over from there ("Mounting a blob from another
// repository"); whether it did is returned.
func (r *Repository) upload(
	ctx context.Context, blob v1.Descriptor, open opener, mountFrom *Repository,
) (mounted bool, err error) {
	again, renewed := false, false
	attempt := func() error {
		reading, stop := context.WithCancel(ctx)
		defer stop()
		coming := comingFrom(reading, open)
		defer coming.drop()
		if mountFrom == nil {
			coming.start() // its first bytes are here when the session is
		}
		session, err := r.startUpload(ctx, blob, mountFrom)
		if err != nil || session.mounted {
			mounted = err == nil
			return err
		}
		return r.sendBlob(ctx, session.location, blob, coming, stop)
	}
	err = r.client.repeat(ctx, func() error {
		if again { // the attempt before may have arrived, its answer lost
			if there, err := r.hasBlob(ctx, blob); err == nil && there {
				return nil
			}
		}
		again = true
		err := attempt()
		if _, stale := errors.AsType[*staleError](err); stale && !renewed && ctx.Err() == nil {
			renewed = true
			err = attempt()
		}
		return err
	})
	if err != nil {
		err = fault.At(r.client.side, fmt.Errorf("writing blob %q to %q: %w", blob.Digest, r, err))
	}
	return mounted, err
}

// coming is a stream that may be opened ahead of its use.
type coming struct {
	ctx    context.Context //nolint:containedctx // of the opening and of the stream
	open   opener
	opened chan struct{} // nil before the start; closed when content or err is there
	used   bool

	content io.ReadCloser
	err     error
}

func comingFrom(ctx context.Context, open opener) *coming { return &coming{ctx: ctx, open: open} }

func (c *coming) start() {
	c.opened = make(chan struct{})
	go func() {
		defer close(c.opened)
		defer fault.Catch(&c.err)
		c.content, c.err = c.open(c.ctx)
	}()
}

// take waits for the stream. Who takes it closes it.
func (c *coming) take() (io.ReadCloser, error) {
	if c.opened == nil {
		c.start()
	}
	<-c.opened
	c.used = true
	return c.content, c.err
}

// drop closes a stream that nobody took. Its context has ended or ends soon.
func (c *coming) drop() {
	if c.opened == nil || c.used {
		return
	}
	go func() {
		var err error
		defer fault.Catch(&err)
		<-c.opened
		if c.content != nil {
			_ = c.content.Close()
		}
	}()
}

type session struct {
	location string
	mounted  bool
}

// startUpload opens an upload session. A mount that is refused, for want of permission to read there for one, is no
// reason to fail: the blob is uploaded then.
func (r *Repository) startUpload(ctx context.Context, blob v1.Descriptor, mountFrom *Repository) (session, error) {
	if mountFrom != nil {
		query := url.Values{"mount": {blob.Digest.String()}, "from": {mountFrom.path}}
		started, err := r.postUpload(ctx, query, scope{repository: mountFrom.path, actions: "pull"})
		if err == nil || ctx.Err() != nil {
			return started, err
		}
	}
	return r.postUpload(ctx, nil)
}

// postUpload opens a session, or with a query for that asks for a mount.
func (r *Repository) postUpload(ctx context.Context, mount url.Values, more ...scope) (session, error) {
	at := "/v2/" + r.path + "/blobs/uploads/"
	if mount != nil {
		at += "?" + mount.Encode()
	}
	answer, err := r.client.once(ctx, call{
		method: http.MethodPost,
		at:     at,
		scopes: append(r.scopes("pull,push"), more...),
	})
	if err != nil {
		return session{}, err
	}
	switch answer.StatusCode {
	case http.StatusCreated:
		discard(answer)
		if mount == nil {
			return session{}, notARegistry("201 to an upload that has not begun")
		}
		return session{mounted: true}, nil
	case http.StatusAccepted:
		discard(answer)
		location, err := answer.Request.URL.Parse(answer.Header.Get("Location"))
		if err != nil || answer.Header.Get("Location") == "" {
			return session{}, notARegistry("an upload without a location")
		}
		return session{location: location.String()}, nil
	}
	return session{}, r.notWritten(answer)
}

// sendBlob sends the stream that is coming into the session. stop ends the stream, so that a Read that is under way
// returns.
func (r *Repository) sendBlob(ctx context.Context, location string, blob v1.Descriptor, coming *coming, stop func()) error {
	content, err := coming.take()
	if err != nil {
		return &otherSide{err}
	}
	stream := &upstream{content: content}
	defer stream.close()
	defer stop()
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	answer, err := r.client.once(ctx, call{
		method: http.MethodPut,
		at:     location + separator + "digest=" + url.QueryEscape(blob.Digest.String()),
		header: map[string]string{"Content-Type": "application/octet-stream"},
		stream: stream, size: blob.Size, bulk: true,
		scopes: r.scopes("pull,push"),
	})
	failed := stream.failed()
	if err != nil {
		if failed != nil && ctx.Err() == nil {
			return &otherSide{failed}
		}
		return r.explain(err)
	}
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		err := r.explain(failure(answer))
		switch {
		case failed != nil:
			return &otherSide{failed}
		case answer.StatusCode == http.StatusNotFound: // the session has expired
			return fault.As(fault.Unavailable, &transientError{errors.New(err.Error())})
		}
		return err
	}
	discard(answer)
	return nil
}

// otherSide is an error of what is uploaded, not of the registry that it is uploaded to. It has been retried there.
type otherSide struct{ error }

func (e *otherSide) Unwrap() error { return e.error }

// upstream is the content on its way into a request. The HTTP transport may go on reading after the answer is there, so
// closing waits for it.
type upstream struct {
	mu      sync.Mutex
	content io.ReadCloser
	err     error
	closed  bool
}

func (u *upstream) Read(p []byte) (int, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := u.read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		u.err = err
	}
	return n, err
}

// read recovers, since it is the transport's goroutine that it runs in.
func (u *upstream) read(p []byte) (n int, err error) {
	defer fault.Catch(&err)
	return u.content.Read(p)
}

func (u *upstream) failed() error {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.err
}

func (u *upstream) close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	_ = u.content.Close()
}
