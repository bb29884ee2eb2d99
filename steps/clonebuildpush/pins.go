package clonebuildpush

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"

	"dockline/pkg/fault"
)

// pins remembers the addresses of hosts. A RUN of the Dockerfile can rewrite /etc/hosts and /etc/resolv.conf, so what
// is pushed to is looked up before the build, and only there afterwards.
type pins struct {
	lookup func(ctx context.Context, host string) ([]string, error)

	mu     sync.Mutex
	known  map[string][]string
	frozen bool
}

func newPins() *pins {
	return &pins{lookup: net.DefaultResolver.LookupHost, known: map[string][]string{}}
}

// pinnedTo knows these addresses by host, and looks nothing up.
func pinnedTo(known map[string][]string) *pins { return &pins{known: known, frozen: true} }

// freeze ends the looking up.
func (p *pins) freeze() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.frozen = true
}

// Dial connects to a host at the addresses that it had when it was first dialled.
func (p *pins) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	addresses, err := p.addresses(ctx, host)
	if err != nil {
		return nil, err
	}
	dialer := net.Dialer{Timeout: 15 * time.Second, KeepAlive: 30 * time.Second}
	var failures []error
	for _, ip := range addresses {
		connection, err := dialer.DialContext(ctx, network, net.JoinHostPort(ip, port))
		if err == nil {
			return connection, nil
		}
		failures = append(failures, err)
	}
	return nil, errors.Join(failures...)
}

func (p *pins) addresses(ctx context.Context, host string) ([]string, error) {
	if net.ParseIP(host) != nil {
		return []string{host}, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if known := p.known[host]; len(known) > 0 {
		return known, nil
	}
	if p.frozen {
		return nil, fault.New(fault.Unavailable,
			"connecting to %q: it was not known before the build, and cannot be looked up safely after it", host)
	}
	found, err := p.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	p.known[host] = found
	return found, nil
}
