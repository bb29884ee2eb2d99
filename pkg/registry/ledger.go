package registry

import (
	"slices"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// ledger is what a [Copier] knows of where blobs are, and which of them are being sent. The zero value is empty.
type ledger struct {
	mu      sync.Mutex
	blobs   map[place]*entry
	asked   map[string]*novelty // by the repository's host and path
	refused bool                // mounts are not made by the registry
}

// place is a registry and what it holds in one of its repositories, or in several.
type place struct {
	host   string
	digest v1.Hash
}

type entry struct {
	in      []*Repository
	sending chan struct{} // closed when a repository has got it, or has not; nil when none is getting it
}

// turn is what a repository that lacks a blob does next: nothing, if it is there meanwhile; wait, if another repository
// is being sent it; else get it, from holder if there is one.
type turn struct {
	there  bool
	wait   <-chan struct{}
	holder *Repository
	done   func(arrived bool) // to be called by who gets it
}

// known tells whether the repository surely has the blob.
func (l *ledger) known(in *Repository, digest v1.Hash) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.at(in, digest).holds(in)
}

func (l *ledger) add(in *Repository, digest v1.Hash) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at(in, digest).add(in)
}

// novelty is whether a registry does not know a repository yet.
type novelty struct {
	answered chan struct{}
	is       bool // once answered
}

// ask notes that a registry is being asked about a repository; false when it has been already.
func (l *ledger) ask(to *Repository) (asked *novelty, first bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.asked == nil {
		l.asked = map[string]*novelty{}
	}
	asked, there := l.asked[to.String()]
	if !there {
		asked = &novelty{answered: make(chan struct{})}
		l.asked[to.String()] = asked
	}
	return asked, !there
}

// due is how long an answer is waited for that was asked for together with what the caller has the answer of.
const due = 100 * time.Millisecond

// news tells whether the repository is surely new. An answer that is on its way is waited for, but not for long.
func (l *ledger) news(to *Repository) bool {
	l.mu.Lock()
	asked := l.asked[to.String()]
	l.mu.Unlock()
	if asked == nil {
		return false
	}
	late := time.NewTimer(due)
	defer late.Stop()
	select {
	case <-asked.answered:
		return asked.is
	case <-late.C:
		return false
	}
}

// noMounts has every repository be sent what it lacks from now on: this registry takes nothing over.
func (l *ledger) noMounts() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = true
}

// take says whose turn it is.
func (l *ledger) take(to *Repository, digest v1.Hash) turn {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at(to, digest)
	switch {
	case at.holds(to):
		return turn{there: true}
	case l.refused:
		return turn{done: func(arrived bool) { l.got(to, digest, arrived, nil) }}
	case len(at.in) > 0:
		return turn{holder: at.in[0], done: func(arrived bool) { l.got(to, digest, arrived, nil) }}
	case at.sending != nil:
		return turn{wait: at.sending}
	}
	sending := make(chan struct{})
	at.sending = sending
	return turn{done: func(arrived bool) { l.got(to, digest, arrived, sending) }}
}

func (l *ledger) got(to *Repository, digest v1.Hash, arrived bool, sending chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	at := l.at(to, digest)
	if arrived {
		at.add(to)
	}
	if sending != nil {
		at.sending = nil
		close(sending)
	}
}

func (l *ledger) at(in *Repository, digest v1.Hash) *entry {
	if l.blobs == nil {
		l.blobs = map[place]*entry{}
	}
	key := place{in.registry.host, digest}
	if l.blobs[key] == nil {
		l.blobs[key] = &entry{}
	}
	return l.blobs[key]
}

func (e *entry) holds(in *Repository) bool { return slices.ContainsFunc(e.in, in.Same) }

func (e *entry) add(in *Repository) {
	if !e.holds(in) {
		e.in = append(e.in, in)
	}
}
