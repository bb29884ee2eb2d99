package registry

import (
	"context"
	"slices"
	"sync"
)

const (
	// mostLanes is how many lanes there are. A call, and a blob of up to laneBytes, takes one; a larger blob takes more,
	// at most widest. So 64 small blobs are on their way at a time, whose cost is the wait for answers, or 8 large ones,
	// which fill the line: see decision record 7.
	mostLanes, widest = 64, 8
	laneBytes         = 4 << 20
)

// lanesFor returns how many lanes a blob of this size takes.
func lanesFor(size int64) int { return int(min(widest, 1+max(0, size)/laneBytes)) }

// lanes bounds what is under way at the same time. The zero value is empty.
type lanes struct {
	mu      sync.Mutex
	used    int
	waiting []*driver
}

type driver struct {
	width int
	limit func() int
	free  chan struct{}
}

// enter waits, first come first served, until there is room for width within limit, which may change, or for nothing
// else is under way. Every enter that returns no error is followed by a leave.
func (l *lanes) enter(ctx context.Context, width int, limit func() int) error {
	l.mu.Lock()
	d := &driver{width: width, limit: limit, free: make(chan struct{})}
	l.waiting = append(l.waiting, d)
	l.next()
	l.mu.Unlock()
	select {
	case <-d.free:
		return nil
	case <-ctx.Done():
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at := slices.Index(l.waiting, d); at >= 0 {
		l.waiting = slices.Delete(l.waiting, at, at+1)
	} else {
		l.used -= width
	}
	l.next()
	return ctx.Err()
}

func (l *lanes) leave(width int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= width
	l.next()
}

// next lets in who has room.
func (l *lanes) next() {
	for len(l.waiting) > 0 {
		d := l.waiting[0]
		if l.used > 0 && l.used+d.width > d.limit() {
			return
		}
		l.waiting = l.waiting[1:]
		l.used += d.width
		close(d.free)
	}
}
