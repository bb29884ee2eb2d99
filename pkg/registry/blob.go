package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// Blob returns the content of a blob as a stream, of which the last Read fails unless all of it had the descriptor's
// digest and size. A connection that is lost on the way is taken up where it broke off. The caller closes it.
func (r *Repository) Blob(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error) {
	if blob.Digest.Algorithm != "sha256" {
		return nil, fault.At(r.client.side, fault.New(fault.Unexpected, "reading blob %q: not a sha256 digest", blob.Digest))
	}
	reader := &blobReader{ctx: ctx, from: r, expected: expect(blob), pace: r.client.patience.pace()}
	if err := r.client.repeat(ctx, reader.open); err != nil {
		return nil, r.blobError(blob, err)
	}
	return reader, nil
}

// hasBlob tells whether the repository holds the blob in full.
func (r *Repository) hasBlob(ctx context.Context, blob v1.Descriptor) (bool, error) {
	answer, err := r.client.do(ctx, call{
		method: http.MethodHead, at: r.blobPath(blob), scopes: r.scopes("pull,push"), elsewhere: true,
	})
	if err != nil {
		return false, r.blobError(blob, err)
	}
	switch answer.StatusCode {
	case http.StatusOK:
		discard(answer)
		return answer.ContentLength < 0 || answer.ContentLength == blob.Size, nil
	case http.StatusNotFound:
		discard(answer)
		return false, nil // whatever it is that says so: the upload that follows is the better judge
	}
	if canonicalHost(answer.Request.URL.Host) != r.registry.host { // a store whose signed address is for GET alone
		discard(answer)
		return false, nil
	}
	return false, r.blobError(blob, r.explain(failure(answer)))
}

// unknown tells whether the registry says that it does not know the repository (NAME_UNKNOWN).
func (r *Repository) unknown(ctx context.Context) bool {
	_, err := r.page(ctx, "/v2/"+r.path+"/tags/list?n=1", "application/json")
	status, ok := errors.AsType[*StatusError](err)
	return ok && status.absent() && slices.Contains(status.Codes, "NAME_UNKNOWN")
}

func (r *Repository) blobPath(blob v1.Descriptor) string {
	return "/v2/" + r.path + "/blobs/" + blob.Digest.String()
}

func (r *Repository) blobError(blob v1.Descriptor, err error) error {
	return fault.At(r.client.side, fmt.Errorf("reading blob %q of %q: %w", blob.Digest, r, err))
}

// blobReader reads a blob over as many connections as it takes.
type blobReader struct {
	ctx  context.Context //nolint:containedctx // a reader's Read has no other way to get it
	from *Repository
	expected
	pace pace
	body io.ReadCloser
	err  error
}

func (b *blobReader) Read(p []byte) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	var n int
	if n, b.err = b.read(p); b.err != nil && !errors.Is(b.err, io.EOF) {
		b.err = b.from.blobError(b.blob, b.err)
	}
	return n, b.err
}

func (b *blobReader) Close() error {
	if b.body == nil {
		return nil
	}
	return b.body.Close()
}

func (b *blobReader) read(p []byte) (int, error) {
	var n int
	b.pace.wait()
	err := b.from.client.repeat(b.ctx, func() error {
		if b.body == nil && b.done == b.blob.Size {
			return io.EOF // the connection was lost after the last byte
		}
		if b.body == nil {
			if err := b.open(); err != nil {
				return err
			}
		}
		var err error
		n, err = b.body.Read(p)
		if n > 0 || err == nil {
			return nil // an error that came with bytes comes again
		}
		if errors.Is(err, io.EOF) && b.done < b.blob.Size {
			err = &transientError{fmt.Errorf("it ended after %d of %d bytes", b.done, b.blob.Size)}
			err = fault.As(fault.Unavailable, err)
		}
		if !errors.Is(err, io.EOF) {
			_ = b.body.Close()
			b.body = nil
		}
		return err
	})
	if slow := b.pace.moved(n); slow != nil && err == nil {
		return 0, slow
	}
	return b.check(p[:n], err)
}

// expected is the digest and the size that a stream must turn out to have.
type expected struct {
	blob v1.Descriptor
	hash hash.Hash
	done int64 // bytes handed on and hashed
}

func expect(blob v1.Descriptor) expected { return expected{blob: blob, hash: sha256.New()} }

// check takes in what a Read returned, and returns what is to be returned instead. The last bytes are handed on only when
// they make the whole right: no registry ever gets a blob complete that is not what its digest says.
func (e *expected) check(read []byte, err error) (int, error) {
	e.done += int64(len(read))
	e.hash.Write(read)
	switch {
	case e.done > e.blob.Size:
		return 0, fault.New(fault.Wrong, "it has more than the %d bytes that its manifest says", e.blob.Size)
	case errors.Is(err, io.EOF) && e.done < e.blob.Size:
		return 0, fault.New(fault.Wrong, "it has %d bytes, and its manifest says %d", e.done, e.blob.Size)
	case e.done == e.blob.Size:
		if got := hex.EncodeToString(e.hash.Sum(nil)); got != e.blob.Digest.Hex {
			return 0, fault.New(fault.Wrong, "its content has the digest \"sha256:%s\"", got)
		}
	}
	return len(read), err
}

// largestShared is the largest blob that is read over a connection shared with other calls: one larger gains from a line
// of its own more than it costs to open.
const largestShared = 1 << 20

// open starts reading at b.done, one attempt.
func (b *blobReader) open() error {
	request := call{
		method: http.MethodGet, at: b.from.blobPath(b.blob), scopes: b.from.scopes("pull"), elsewhere: true,
		bulk: b.blob.Size > largestShared,
	}
	if b.done > 0 {
		request.header = map[string]string{"Range": fmt.Sprintf("bytes=%d-%d", b.done, b.blob.Size-1)}
	}
	answer, err := b.from.client.once(b.ctx, request)
	if err != nil {
		return err
	}
	switch {
	case answer.StatusCode == http.StatusPartialContent && b.done > 0 && startsAt(answer.Header, b.done):
		b.body = answer.Body
		return nil
	case answer.StatusCode == http.StatusOK: // Range may be ignored
		if _, err := io.CopyN(io.Discard, pacing{answer.Body, &b.pace}, b.done); err != nil {
			_ = answer.Body.Close()
			return lost(b.ctx, err)
		}
		b.body = answer.Body
		return nil
	}
	away := canonicalHost(answer.Request.URL.Host) != b.from.registry.host
	err = failure(answer)
	if away { // where a redirect led to: an address that was valid for a short while
		return fault.New(fault.Unavailable, "reading from %q: %w", answer.Request.URL.Host, &transientError{errors.New(err.Error())})
	}
	return b.from.explain(err)
}

func startsAt(header http.Header, offset int64) bool {
	first, _, _ := strings.Cut(strings.TrimPrefix(header.Get("Content-Range"), "bytes "), "-")
	at, err := strconv.ParseInt(first, 10, 64)
	return err == nil && at == offset
}
