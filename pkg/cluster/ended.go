package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Ended says why ctx ended: its cause, such that errors.Is(err, context.Canceled) holds after a cancellation.
func Ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(err, context.Canceled) && !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return cause
}

// Sleep waits for d, or returns the reason why ctx ended first.
func Sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return Ended(ctx)
	}
}
