package registry

import (
	"context"
	"net"
	"sync"
	"time"

	"dockline/pkg/fault"
)

// dialer makes a connection.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// ahead opens some connections before they are asked for: to the address that is dialed first, the registry's or its
// proxy's, as soon as it is. The calls that come when the first one has been answered find them open, and wait for one
// round trip less.
type ahead struct {
	dial   dialer
	number int

	mu      sync.Mutex
	address string // that was dialed first
	open    []early
	ended   bool
}

// early is a connection that nobody has used yet.
type early struct {
	net.Conn
	since time.Time
}

// oldest is how old a connection may be that is used for the first time: servers close those on which nothing comes.
const oldest = 5 * time.Second

// connect takes a connection that is open, or dials.
func (a *ahead) connect(ctx context.Context, network, address string) (net.Conn, error) {
	a.mu.Lock()
	first := a.address == "" && !a.ended
	if first {
		a.address = address
	}
	for address == a.address && len(a.open) > 0 {
		last := a.open[len(a.open)-1]
		a.open = a.open[:len(a.open)-1]
		if time.Since(last.since) < oldest {
			a.mu.Unlock()
			return last.Conn, nil
		}
		_ = last.Close()
	}
	a.mu.Unlock()
	if first {
		for range a.number {
			go func() {
				var err error // for the call to tell that needs the connection
				defer fault.Catch(&err)
				err = a.one(context.WithoutCancel(ctx), network, address)
			}()
		}
	}
	return a.dial(ctx, network, address)
}

// one opens one connection.
func (a *ahead) one(ctx context.Context, network, address string) error {
	ctx, cancel := context.WithTimeout(ctx, oldest)
	defer cancel()
	connection, err := a.dial(ctx, network, address)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return connection.Close()
	}
	a.open = append(a.open, early{connection, time.Now()})
	return nil
}

// close closes what nobody has used.
func (a *ahead) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	for _, one := range a.open {
		_ = one.Close()
	}
	a.open = nil
}
