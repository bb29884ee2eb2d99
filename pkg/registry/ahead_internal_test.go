package registry

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"
)

// TestConnectionsAreOpenedAhead counts what is dialed, of which address, and what is left open in the end.
func TestConnectionsAreOpenedAhead(t *testing.T) {
	t.Parallel()
	dialed := make(chan net.Conn, 100)
	a := &ahead{number: 3, dial: func(_ context.Context, _, address string) (net.Conn, error) {
		if address == "away" {
			return nil, errors.New("away")
		}
		here, there := net.Pipe()
		dialed <- there
		return here, nil
	}}
	defer a.close()
	taken := map[net.Conn]bool{}
	take := func(address string) {
		t.Helper()
		got, err := a.connect(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		if taken[got] {
			t.Error("a connection was handed out twice")
		}
		taken[got] = true
	}
	take("registry:443")
	opened := func() int { a.mu.Lock(); defer a.mu.Unlock(); return len(a.open) }
	for deadline := time.Now().Add(10 * time.Second); opened() < 3 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	take("elsewhere:443")
	if opened() != 3 || len(dialed) != 5 {
		t.Errorf("%d are open ahead, %d were dialed; want 3, of 5", opened(), len(dialed))
	}
	take("registry:443")
	a.mu.Lock()
	a.open[0].since = a.open[0].since.Add(-time.Hour) // the server has closed it by now
	old := a.open[0].Conn
	a.mu.Unlock()
	take("registry:443")
	take("registry:443")
	if taken[old] || len(dialed) != 6 {
		t.Errorf("one that is too old was handed out: %t; %d were dialed, want 6", taken[old], len(dialed))
	}
}

// TestWhatWasOpenedAheadIsClosed where nobody has used it, be it open before or after the end.
func TestWhatWasOpenedAheadIsClosed(t *testing.T) {
	t.Parallel()
	goOn, ends := make(chan struct{}), make(chan net.Conn, 3)
	a := &ahead{number: 2, dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		if _, early := ctx.Deadline(); early {
			<-goOn
		}
		here, there := net.Pipe()
		ends <- there
		return here, nil
	}}
	used, err := a.connect(t.Context(), "tcp", "registry:443")
	if err != nil {
		t.Fatal(err)
	}
	<-ends
	a.close()
	close(goOn)
	for range 2 {
		there := <-ends
		_ = there.SetReadDeadline(time.Now().Add(10 * time.Second))
		if _, err := there.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a connection is left open: %v", err)
		}
	}
	_ = used.Close()
}
