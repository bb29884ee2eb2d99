package registry

import (
	"context"
	"io"
	"net"
	"sync"
)

// wideBuffer is what a body is read and written by. The standard library's 32 KiB make more calls of the kernel, which
// is what a copy on a near line consists of, beside hashing.
const wideBuffer = 128 << 10

// narrowBuffer is what a small body is: of these dozens are under way at a time. It is as much as a TLS record has.
const narrowBuffer = 16 << 10

var (
	wideBuffers   = sync.Pool{New: func() any { b := make([]byte, wideBuffer); return &b }}
	narrowBuffers = sync.Pool{New: func() any { b := make([]byte, narrowBuffer); return &b }}
)

// wide is a connection that takes large bodies in large pieces.
type wide struct{ net.Conn }

// ReadFrom implements io.ReaderFrom, by which net/http sends a body.
func (w wide) ReadFrom(body io.Reader) (int64, error) {
	buffers := &wideBuffers
	if limited, ok := body.(*io.LimitedReader); ok && limited.N < wideBuffer {
		buffers = &narrowBuffers
	}
	buffer := buffers.Get().(*[]byte) //nolint:errcheck // nothing else is in the pools
	defer buffers.Put(buffer)
	return io.CopyBuffer(struct{ io.Writer }{w.Conn}, body, *buffer)
}

// widely makes connections wide.
func widely(dial dialer) dialer {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wide{connection}, nil
	}
}
