// Package line is a long line on one machine: a TCP proxy on loopback that hands every byte on a fixed time after it
// came, in order. Nothing is ever lost on it. The line as a whole has no bandwidth limit; a connection may have a window,
// as TCP has on any line: so much of it is on the way at most.
package line

import (
	"net"
	"sync"
	"time"
)

// Line is a proxy before one server.
type Line struct {
	listener net.Listener
	oneWay   time.Duration
	window   int // bytes

	mu     sync.Mutex
	to     string
	open   map[net.Conn]bool
	closed bool
}

// Listen starts a line to the address to, with that delay in each direction, and for each connection a window of so many
// bytes.
func Listen(to string, oneWay time.Duration, window int) (*Line, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	l := &Line{listener: listener, oneWay: oneWay, to: to, open: map[net.Conn]bool{}}
	go l.accept()
	return l, nil
}

// Addr returns the address to connect to.
func (l *Line) Addr() string { return l.listener.Addr().String() }

// Aim has the connections that come from now on lead to another address.
func (l *Line) Aim(to string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.to = to
}

// Close ends the line and all that goes over it.
func (l *Line) Close() {
	_ = l.listener.Close()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	for connection := range l.open {
		_ = connection.Close()
	}
}

func (l *Line) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		// On a long line the client knows that it is connected after a whole round trip, and speaks only then. Here it
		// speaks at once: what it says is held back for that time.
		connected := time.Now().Add(2 * l.oneWay)
		l.mu.Lock()
		to := l.to
		l.mu.Unlock()
		far, err := net.Dial("tcp", to)
		if err != nil {
			_ = near.Close()
			continue
		}
		if !l.keep(near, far) {
			return
		}
		var both sync.WaitGroup
		both.Go(func() { l.carry(far, near, connected) })
		both.Go(func() { l.carry(near, far, time.Time{}) })
		go func() {
			both.Wait()
			l.drop(near, far)
		}()
	}
}

func (l *Line) keep(connections ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, connection := range connections {
		if l.closed {
			_ = connection.Close()
		}
		l.open[connection] = true
	}
	return !l.closed
}

func (l *Line) drop(connections ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, connection := range connections {
		_ = connection.Close()
		delete(l.open, connection)
	}
}

// parcel is what was read at once, on its way. A nil one is the end of the stream.
type parcel struct {
	bytes *[]byte
	n     int
	due   time.Time
}

const parcelSize = 32 << 10

const (
	// Window is how much of a connection is on the way in each direction at most, as on most lines. With 25 ms it comes to
	// 40 MB a second for each connection, of which there may be any number.
	Window = 1 << 20
	// Open is a window that no connection here ever fills.
	Open = 256 << 20
)

var parcels = sync.Pool{New: func() any { b := make([]byte, parcelSize); return &b }}

// carry takes all that from says to to, each parcel no sooner than its delay after it came, and none before notBefore
// plus the delay.
func (l *Line) carry(to, from net.Conn, notBefore time.Time) {
	way := make(chan parcel, l.window/parcelSize)
	go func() {
		defer close(way)
		for {
			buffer := parcels.Get().(*[]byte) //nolint:forcetypeassert // the pool holds nothing else
			n, err := from.Read(*buffer)
			came := time.Now()
			if came.Before(notBefore) {
				came = notBefore
			}
			way <- parcel{buffer, n, came.Add(l.oneWay)}
			if err != nil {
				return
			}
		}
	}()
	for one := range way {
		time.Sleep(time.Until(one.due))
		if one.n > 0 {
			if _, err := to.Write((*one.bytes)[:one.n]); err != nil {
				_ = from.Close() // ends the reader
			}
		}
		parcels.Put(one.bytes)
	}
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}
