package registry

import (
	"io"
	"time"

	"dockline/pkg/fault"
)

const (
	// slowestRate is what a blob must move by on average, in bytes per second. It is far below any line that images are
	// carried over, even when dozens of blobs share it, and has every blob end one day: what comes a byte now and then is
	// never silent for long.
	slowestRate = 1 << 10
	// paceSilences is how many times Patience.Silence the average is taken over: more than all attempts of one call take,
	// with the longest pauses that a registry may ask for between them.
	paceSilences = 20
)

// pace ends a transfer that goes on, but so slowly that it is as good as lost. Only the time counts in which the other
// end is waited for. That is no failure to be tried again: it would be as slow.
type pace struct {
	over  time.Duration
	from  time.Time     // since when the other end is waited for; zero when it is not
	spent time.Duration // waiting
	bytes int64         // that came of it
}

func (p Patience) pace() pace { return pace{over: paceSilences * p.Silence} }

// wait says that the other end is waited for from now on.
func (p *pace) wait() { p.from = time.Now() }

// moved says that n bytes came of the waiting, which ends.
func (p *pace) moved(n int) error {
	if p.from.IsZero() {
		return nil
	}
	p.spent += time.Since(p.from)
	p.bytes += int64(n)
	p.from = time.Time{}
	if p.spent < p.over {
		return nil
	}
	spent, bytes := p.spent, p.bytes
	p.spent, p.bytes = 0, 0
	if float64(bytes) < slowestRate*spent.Seconds() {
		return fault.New(fault.Unavailable, "giving up: %d bytes moved in %s", bytes, spent.Round(time.Second))
	}
	return nil
}

// pacing is a reader of which each Read counts.
type pacing struct {
	io.Reader
	pace *pace
}

func (r pacing) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if slow := r.pace.moved(n); slow != nil {
		return n, slow
	}
	r.pace.wait()
	return n, err
}
