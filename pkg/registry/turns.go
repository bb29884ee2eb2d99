package registry

import (
	"context"
	"sync"
)

// turns has those in this program that change the same thing wait for one another.
type turns struct{ byKey sync.Map } // of chan struct{}, one a key, for as long as the registry is used

// take waits for its turn; release ends it.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	known, _ := t.byKey.LoadOrStore(key, make(chan struct{}, 1))
	turn := known.(chan struct{}) //nolint:errcheck // nothing else is stored
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
