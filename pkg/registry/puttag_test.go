package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"dockline/e2e/faultyregistry"
)

// goOn is a look that finds nothing.
func goOn(context.Context) (bool, error) { return false, nil }

// TestPutTagLooksBeforeEachAttempt has a tag written that somebody else writes while the registry is away.
func TestPutTagLooksBeforeEachAttempt(t *testing.T) {
	t.Parallel()
	lost := errors.New("somebody else has written it")
	for _, row := range []struct {
		name   string
		looked time.Time // before
		fault  faultyregistry.Fault
		done   bool
		err    error
		looks  int
		puts   int
	}{
		{"a fresh look, and no failure", time.Now().Add(time.Hour), nil, false, nil, 0, 1},
		{"an old look", time.Time{}, nil, false, nil, 1, 1},
		{"an old look, and changed since", time.Time{}, nil, false, lost, 1, 0},
		{"an old look, and there since", time.Time{}, nil, true, nil, 1, 0},
		{"503 once", time.Now().Add(time.Hour), faultyregistry.Status(503, ""), false, nil, 1, 2},
		{"503 once, and changed meanwhile", time.Now().Add(time.Hour), faultyregistry.Status(503, ""), false, lost, 1, 1},
		{"done, and the answer lost", time.Now().Add(time.Hour), faultyregistry.Lost(), true, nil, 1, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository := plain(t, server).Repository("a/b")
			image := push(t, repository, "1.0", randomImage(t))
			if row.fault != nil {
				server.Break("PUT /manifests/2.0", 1, row.fault)
			}
			before, looks := count(server, "PUT"), 0
			err := repository.PutTag(t.Context(), image, "2.0", row.looked, func(context.Context) (bool, error) {
				looks++
				return row.done, row.err
			})
			if err != row.err { //nolint:errorlint // as it is
				t.Errorf("error %v, want %v", err, row.err)
			}
			if puts := count(server, "PUT") - before; looks != row.looks || puts != row.puts {
				t.Errorf("%d looks and %d PUTs, want %d and %d", looks, puts, row.looks, row.puts)
			}
		})
	}
}
