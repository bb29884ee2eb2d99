//go:build e2e

package chaos_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"dockline/e2e/chaos"
)

var seed = flag.Uint64("seed", uint64(time.Now().UnixNano()), "of what TestKilledAtRandomPoints draws")

const (
	chains    = 10 // registries that are promoted to, one kill after the other
	kills     = 5  // in each of them
	mostTries = 8  // runs that are to be killed, in each: one may end before it comes to that
	services  = 12
)

// TestKilledAtRandomPoints kills the program 50 times, half of them by SIGKILL and half by SIGTERM, before or while a
// request that was drawn is answered. No tag may ever lead to an incomplete image, each tag holds what it held or what
// it is to hold, and the run that follows completes the set. Half of the registries fail as those of
// [TestTwoHundredImagesArrive] do.
func TestKilledAtRandomPoints(t *testing.T) {
	t.Parallel()
	t.Logf("-seed %d", *seed)
	var versions []string
	for i := range mostTries {
		versions = append(versions, fmt.Sprint("v", i))
	}
	s := newSet(t, services, versions...)
	requests := map[bool]map[bool]int{}
	for _, faulty := range []bool{false, true} {
		requests[faulty] = newChain(t, s, -1, faulty).measure(t)
	}
	t.Logf("requests of a whole run, on a failing registry or not, by force or not: %v", requests)
	var total sync.Map
	group := errgroup.Group{}
	group.SetLimit(5) // those on failing registries wait most of the time
	for number := range chains {
		group.Go(func() error {
			c := newChain(t, s, number, number%2 == 1)
			c.requests = requests[c.faulty]
			killed, err := c.run(t)
			total.Store(number, killed)
			if err != nil {
				return fmt.Errorf("registry %d, of -seed %d: %w", number, *seed, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	all := map[string]int{}
	total.Range(func(_, killed any) bool {
		for signal, times := range killed.(map[string]int) {
			all[signal] += times
		}
		return true
	})
	t.Logf("ended by: %v", all)
	if all["SIGKILL"]+all["SIGTERM"] < chains*kills {
		t.Errorf("it was killed fewer than %d times", chains*kills)
	}
}

// chain is one target registry, to which version after version of the set is promoted: in turn as a tag of its own, and
// by force in the place of the image that "stable" holds.
type chain struct {
	set            *set
	store          *chaos.Store
	source, target *chaos.Server
	faulty         bool
	number         int
	random         *rand.Rand
	requests       map[bool]int // that a whole run of either sort makes
}

func newChain(t testing.TB, s *set, number int, faulty bool) *chain {
	t.Helper()
	c := &chain{
		set: s, store: chaos.NewStore(), source: chaos.Serve(t, s.source), number: number, faulty: faulty,
		random: rand.New(rand.NewPCG(*seed, uint64(number))),
	}
	c.target = chaos.Serve(t, c.store)
	c.target.Watch(t)
	return c
}

// measure counts the requests of whole runs.
func (c *chain) measure(t testing.TB) map[bool]int {
	t.Helper()
	requests := map[bool]int{}
	for i, tag := range []string{"v0", "stable", "stable"} {
		forced := i == 2
		c.begin(0, nil)
		whole := newRun(t, c.source, c.target, c.set.images(fmt.Sprint("v", i), tag), force(forced)...)
		if status, err := whole.end(); status != 0 || err != nil {
			t.Fatalf("exit status %d, %v: %s", status, err, whole.log())
		}
		if i != 1 {
			requests[forced] = c.target.Requests()
		}
	}
	return requests
}

func (c *chain) run(t testing.TB) (killed map[string]int, err error) {
	killed = map[string]int{}
	for try := 0; try < mostTries && killed["SIGKILL"]+killed["SIGTERM"] < kills; try++ {
		version := fmt.Sprint("v", try)
		tag, forced := version, try%2 == 0
		if forced {
			tag = "stable"
		}
		variables := force(forced)
		before := c.set.holds(c.store, tag)
		doomed := newRun(t, c.source, c.target, c.set.images(version, tag), variables...)
		signal := (c.number/2+try)%2 == 0 // in turn, on either sort of registry
		at, answered := 1+c.random.IntN(c.requests[forced]), c.random.IntN(2) == 0
		point := fmt.Sprintf("version %s as %s, request %d (answered: %t)", version, tag, at, answered)
		stop := doomed.kill
		name := "SIGKILL"
		if signal {
			stop, name = doomed.terminate, "SIGTERM"
		}
		c.begin(at, func() bool {
			stop()
			return answered
		})
		status, err := doomed.end()
		switch {
		case err != nil:
			return killed, err
		case status == 0 && c.target.Requests() < at:
			name = "itself" // there were fewer requests than the runs before had
		case status == 0 && signal: // the signal came when all was done
		case status == -1 && !signal:
		case status == 143 && signal:
			if err := c.terminated(doomed, before, tag); err != nil {
				return killed, fmt.Errorf("SIGTERM at %s: %w", point, err)
			}
		default:
			return killed, fmt.Errorf("%s at %s: exit status %d: %s", name, point, status, doomed.log())
		}
		killed[name]++
		if err := c.eitherWay(before, version, tag); err != nil {
			return killed, fmt.Errorf("after %s at %s: %w", name, point, err)
		}

		c.begin(0, nil)
		next := newRun(t, c.source, c.target, c.set.images(version, tag), variables...)
		if status, err := next.end(); err != nil || status != 0 {
			return killed, fmt.Errorf("the run after %s at %s ends in %d, %w: %s", name, point, status, err, next.log())
		}
		if err := errors.Join(c.set.arrived(c.store, version, tag), c.eitherWay(before, version, tag)); err != nil {
			return killed, fmt.Errorf("the run after %s at %s: %w", name, point, err)
		}
	}
	return killed, nil
}

func (c *chain) begin(at int, what func() bool) {
	c.source.Begin(c.faulty, 0, nil)
	c.target.Begin(c.faulty, at, what)
}

func force(yes bool) []string {
	if !yes {
		return nil
	}
	return []string{"FORCE=true", "FORCE_REASON=a new version"}
}

// eitherWay returns an error unless each tag holds what it held or what it is to hold, the former kept under a backup tag
// where it has been replaced.
func (c *chain) eitherWay(before []string, version, tag string) error {
	for i, now := range c.set.holds(c.store, tag) {
		switch now {
		case before[i]:
		case c.set.digests[i][version]:
			if before[i] == "" {
				continue
			}
			backup := service(i) + ":" + tag + "-replaced-" + strings.TrimPrefix(before[i], "sha256:")[:8]
			if kept := c.store.Digest(backup); kept != before[i] {
				return fmt.Errorf("%s holds %q, and %q was replaced", backup, kept, before[i])
			}
		default:
			return fmt.Errorf("%s:%s holds %q, want %q or %q", service(i), tag, now, before[i], c.set.digests[i][version])
		}
	}
	return nil
}

// terminated returns an error unless the program ended in time and left all tags as they were, or moved all, or named
// those that it moved.
func (c *chain) terminated(r *run, before []string, tag string) error {
	// Five seconds are promised by pkg/step, and tested there; a machine that is busy with tests takes longer.
	if r.took > 10*time.Second {
		return fmt.Errorf("it took %s: %s", r.took, r.log())
	}
	after := c.set.holds(c.store, tag)
	var moved, unnamed []string
	for i := range after {
		if after[i] == before[i] {
			continue
		}
		moved = append(moved, service(i))
		if !strings.Contains(r.last(), service(i)+":"+tag) {
			unnamed = append(unnamed, service(i))
		}
	}
	if len(moved) < len(after) && len(unnamed) > 0 {
		return fmt.Errorf("the tags of %v moved, and those of %v are not named: %s", moved, unnamed, r.log())
	}
	return nil
}
