//go:build e2e

package chaos_test

import (
	"testing"

	"dockline/e2e/chaos"
)

// TestTwoHundredImagesArrive promotes 200 images between two registries that fail every seventh request, reset
// connections, ask to wait and let upload sessions expire; the next version of all of them likewise, with the program
// killed in between.
func TestTwoHundredImagesArrive(t *testing.T) {
	t.Parallel()
	const n = 200
	s := newSet(t, n, "1", "2")
	store := chaos.NewStore()
	source, target := chaos.Serve(t, s.source), chaos.Serve(t, store)
	target.Watch(t)
	begin := func(at int, what func() bool) {
		source.Begin(true, 0, nil)
		target.Begin(true, at, what)
	}
	complete := func(version string) (requests int) {
		t.Helper()
		begin(0, nil)
		whole := newRun(t, source, target, s.images(version, version))
		if status, err := whole.end(); status != 0 || err != nil {
			t.Fatalf("exit status %d, %v: %s", status, err, whole.log())
		}
		if err := s.arrived(store, version, version); err != nil {
			t.Fatal(err)
		}
		return target.Requests()
	}
	requests := complete("1")
	t.Logf("promoted in %d requests to the target, %d to the source", requests, source.Requests())

	for _, part := range []int{3, 2} { // the second has done more before it is killed
		killed := newRun(t, source, target, s.images("2", "2"))
		begin(requests/part, killed.kill)
		if status, err := killed.end(); status != -1 || err != nil {
			t.Fatalf("exit status %d, %v: %s", status, err, killed.log())
		}
	}
	complete("2")
	if err := s.arrived(store, "1", "1"); err != nil {
		t.Error(err)
	}
}
