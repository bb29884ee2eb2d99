package registry

import (
	"io"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Progress is how far one blob is. The last report of a blob has State other than Running.
type Progress struct {
	Blob  v1.Descriptor
	Done  int64
	State State
}

// State says what becomes of a blob.
type State string

// The states of a blob.
const (
	Running State = "running"
	Sent    State = "sent"
	Present State = "present" // was there already
	Mounted State = "mounted" // taken over by the registry from another of its repositories
)

// reportEvery keeps the reports about a running blob from costing more than the blob.
const reportEvery = time.Second

func (c *copying) finish(blob v1.Descriptor, state State) error {
	c.mu.Lock()
	switch state {
	case Present:
		c.copied.Present++
	case Mounted:
		c.copied.Mounted++
	default:
		c.copied.Bytes += blob.Size
	}
	c.mu.Unlock()
	c.tell(Progress{Blob: blob, Done: blob.Size, State: state})
	return nil
}

func (c *copying) tell(progress Progress) {
	if c.Report == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Report(progress)
}

// metered tells how far a stream is, every now and then.
type metered struct {
	io.ReadCloser
	blob v1.Descriptor
	tell func(Progress)
	done int64
	told time.Time
}

func (m *metered) Read(p []byte) (n int, err error) {
	n, err = m.ReadCloser.Read(p)
	m.done += int64(n)
	if time.Since(m.told) >= reportEvery {
		m.told = time.Now()
		m.tell(Progress{Blob: m.blob, Done: m.done, State: Running})
	}
	return n, err
}
