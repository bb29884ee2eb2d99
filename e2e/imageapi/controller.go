package imageapi

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// controller brings one part of the cluster to what its objects ask for. Reconcile looks at everything anew each time
// that something changed, and says after what time it wants to look again although nothing did; 0 means never.
type controller struct {
	name      string
	reconcile func(ctx context.Context) (again time.Duration)
}

// controllers are those of a whole cluster.
func (s *Server) controllers() []controller {
	return append(s.imageControllers(),
		controller{"rollout", (&rolloutController{server: s, progress: map[types.UID]progress{}}).reconcile},
		controller{"node", (&nodeController{server: s, running: map[types.UID]*runningPod{}}).reconcile},
	)
}

// imageControllers are those that work for the image API.
func (s *Server) imageControllers() []controller {
	imports := &importController{server: s, busy: map[types.UID]bool{}, seen: map[importKey]time.Time{}, last: map[importKey]time.Time{}}
	return []controller{
		{"import", imports.reconcile},
		{"trigger", (&triggerController{server: s, seen: map[triggerKey]time.Time{}}).reconcile},
	}
}

// work runs a controller until the server stops.
func (s *Server) work(c controller) {
	for s.stopping.Err() == nil {
		changed := s.store.next() // before looking, so that no change is missed
		again := c.reconcile(s.stopping)
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-changed:
		case <-timer:
		case <-s.stopping.Done():
		}
	}
}

// sooner returns the lesser of two waiting times, 0 being none.
func sooner(a, b time.Duration) time.Duration {
	if a <= 0 || (b > 0 && b < a) {
		return b
	}
	return a
}
