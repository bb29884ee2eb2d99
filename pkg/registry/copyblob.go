package registry

import (
	"context"
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blob has the target repository hold the blob, by the least that is needed.
func (c *copying) blob(ctx context.Context, blob v1.Descriptor) error {
	there, err := c.isThere(ctx, blob)
	if err != nil {
		return err
	}
	if there {
		return c.finish(blob, Present)
	}
	for {
		turn := c.copier.ledger.take(c.To, blob.Digest)
		switch {
		case turn.there:
			return c.finish(blob, Present)
		case turn.wait != nil:
			select {
			case <-turn.wait:
				continue
			case <-ctx.Done():
				return lost(ctx, ctx.Err())
			}
		}
		return c.bring(ctx, blob, turn)
	}
}

func (c *copying) isThere(ctx context.Context, blob v1.Descriptor) (bool, error) {
	switch {
	case c.copier.ledger.known(c.To, blob.Digest):
		return true, nil
	case blob.Size <= smallBlob && c.copier.ledger.news(c.To):
		return false, nil
	}
	if err := c.copier.lanes.enter(ctx, 1, c.limit); err != nil {
		return false, lost(ctx, err)
	}
	defer c.copier.lanes.leave(1)
	there, err := c.To.hasBlob(ctx, blob)
	if there {
		c.copier.ledger.add(c.To, blob.Digest)
	}
	return there, err
}

// smallBlob is the largest that is sent to a new repository unasked. (Layers may be there all the same, where a copy was
// broken off before its first manifest. Sending what is there does no harm, but takes its time.)
const smallBlob = 1 << 20

// bring mounts or sends the blob.
func (c *copying) bring(ctx context.Context, blob v1.Descriptor, turn turn) (err error) {
	arrived := false
	defer func() { turn.done(arrived) }()
	width, limit := lanesFor(blob.Size), c.limit
	if width == widest {
		limit = c.most // what fills the line is no less when the registry is near
	}
	if err := c.copier.lanes.enter(ctx, width, limit); err != nil {
		return lost(ctx, err)
	}
	defer c.copier.lanes.leave(width)
	mountFrom := c.mountFrom
	if turn.holder != nil {
		mountFrom = turn.holder
	}
	mounted, err := c.To.upload(ctx, blob, func(ctx context.Context) (io.ReadCloser, error) {
		content, err := c.From.Blob(ctx, blob)
		if err != nil {
			return nil, err
		}
		c.tell(Progress{Blob: blob, State: Running})
		return &metered{ReadCloser: content, blob: blob, tell: c.tell, told: time.Now()}, nil
	}, mountFrom)
	if err != nil {
		return err
	}
	arrived = true
	if mounted {
		return c.finish(blob, Mounted)
	}
	if turn.holder != nil {
		c.copier.ledger.noMounts()
	}
	return c.finish(blob, Sent)
}
