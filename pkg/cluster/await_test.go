package cluster_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// TestAwaitSurvivesDroppedWatches serves watches that end after each event, then are refused, then work.
func TestAwaitSurvivesDroppedWatches(t *testing.T) {
	t.Parallel()
	var value, watches atomic.Int64
	object := func() map[string]any {
		return map[string]any{"apiVersion": "example.com/v1", "kind": "Thing",
			"metadata": map[string]any{"name": "x", "resourceVersion": "1"}, "value": value.Add(1)}
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Query().Get("watch") == "" {
			_ = json.NewEncoder(w).Encode(object())
			return
		}
		if watches.Add(1)%2 == 0 {
			status(403, "Forbidden", "no right to watch")(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"type": "MODIFIED", "object": object()})
	}))
	defer server.Close()
	c := connect(t, cluster.Config{Server: server.URL, Token: "t"})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	err := c.Await(ctx, things, "dev", "x", func(u *unstructured.Unstructured) (bool, error) {
		value, _, _ := unstructured.NestedInt64(u.Object, "value")
		return value >= 8, nil
	})
	if err != nil || watches.Load() < 3 {
		t.Errorf("%v after %d watches", err, watches.Load())
	}
}

func TestCancellingAwait(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(status(500, "InternalError", "x"))
	defer server.Close()
	c := connect(t, cluster.Config{Server: server.URL, Token: "t"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Get(ctx, things, "dev", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
	why := fault.New(fault.TimedOut, "TIMEOUT is over")
	ctx, cancel = context.WithTimeoutCause(t.Context(), 0, why)
	defer cancel()
	if _, err := c.Get(ctx, things, "dev", "x"); fault.KindOf(err) != fault.TimedOut {
		t.Errorf("timed out: %v", err)
	}
}
