// Package story tells how one service gets from Git to production, with the real step programs, against real servers on
// loopback: two registries, a Git server and a small cluster. Each thing that must be true on the way is a [Fact], which
// is looked for at the servers themselves and not in what a step says of its own work.
package story

import (
	"context"
	"fmt"
)

// ImageName is the name of the story's image in both registries.
const ImageName = "deepsky/awl-deepsky-hello"

// The pages of the sample service, as its versions and its two patches say it.
const (
	page10     = "Hello World! I'm using the version 1.0"
	page11     = "Hello World! I'm using version 1.1."
	pagePatch1 = "Hello World! I'm using version 1.1, patched."
	pagePatch2 = "Hello World! I'm using version 1.1, patched twice."
)

// Tell tells the whole story. It ends at the first fact that does not hold, with an error that names it.
func Tell(ctx context.Context, world *World, runner Runner, teller *Teller) error {
	s := &story{world: world, runner: runner, teller: teller}
	for _, chapter := range []struct {
		title string
		tell  func(context.Context) error
	}{
		{"Version 1.0: build it from Git, push it to the testing registry", s.build10},
		{"Point hello-app:dev at it: the first deployment", s.deployDev10},
		{"Let's go to production: promote 1.0", s.promote10},
		{"Point hello-app:prod at it: the first deployment", s.deployProd10},
		{"Version 1.1: build it, point dev at it", s.evolveDev},
		{"Promote 1.1, point prod at it", s.evolveProd},
		{"Patch 1.1, case 1 (scheduled import): build and wait, no retag", s.patchScheduled},
		{"Patch 1.1, case 2 (no scheduled import): build and retag", s.patchRetagged},
		{"Promote the patched 1.1: refused, since production has another 1.1", s.promoteRefused},
		{"Promote it with FORCE: the replaced image is kept", s.promoteForced},
		{"Which image is where?", s.describe},
	} {
		if err := teller.chapter(ctx, chapter.title, chapter.tell); err != nil {
			return fmt.Errorf("%s: %w", chapter.title, err)
		}
	}
	return teller.table(ctx, world)
}

// story is what is known so far.
type story struct {
	world  *World
	runner Runner
	teller *Teller

	// Digests of the four images, once they are built.
	v10, v11, patch1, patch2 string
	commit11                 string // that 1.1 was first built from
}

func (s *story) build10(ctx context.Context) error {
	commit, err := s.world.commit("Say hello", hello{"1.0": page10})
	if err != nil {
		return err
	}
	built, err := s.build(ctx, "1.0")
	if err != nil {
		return err
	}
	s.v10 = built.Results["IMAGE_DIGEST"]
	return s.hold(ctx,
		ended("the build ends well", built, 0),
		handedOn("the build hands on the commit", built, "COMMIT", commit),
		s.world.Testing.holds("testing holds 1.0, by the digest that the build handed on", "1.0", &s.v10),
		s.world.Testing.holds("testing holds it under its commit too", "commit-"+commit, &s.v10),
		s.world.Testing.builtFrom("the image tells the commit that it was built from", "1.0", commit),
		s.world.Production.lacks("production has no 1.0 yet", "1.0"),
	)
}

func (s *story) deployDev10(ctx context.Context) error {
	tagged, err := s.retag(ctx, s.world.Dev, "1.0", s.v10, with{"IMPORT_SCHEDULED": "true", "CREATE_APP": "true"})
	if err != nil {
		return err
	}
	if err := s.hold(ctx, ended("the retag of dev ends well", tagged, 0)); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Dev, "1.0", &s.v10, page10)
}

func (s *story) promote10(ctx context.Context) error {
	promoted, err := s.promote(ctx, "1.0", s.v10, nil)
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("the promotion ends well", promoted, 0),
		handedOn("it says that the image was copied", promoted, "PROMOTION", "copied"),
		s.world.Production.holds("production holds 1.0, the very image that testing has", "1.0", &s.v10),
	); err != nil {
		return err
	}
	again, err := s.promote(ctx, "1.0", s.v10, nil)
	if err != nil {
		return err
	}
	return s.hold(ctx,
		ended("promoting it again ends well", again, 0),
		handedOn("the second promotion finds it there", again, "PROMOTION", "same"),
	)
}

func (s *story) deployProd10(ctx context.Context) error {
	tagged, err := s.retag(ctx, s.world.Prod, "1.0", s.v10, with{"CREATE_APP": "true"})
	if err != nil {
		return err
	}
	if err := s.hold(ctx, ended("the retag of prod ends well", tagged, 0)); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Prod, "1.0", &s.v10, page10)
}

func (s *story) evolveDev(ctx context.Context) error {
	commit, err := s.world.commit("Evolve", hello{"1.0": page10, "1.1": page11})
	if err != nil {
		return err
	}
	s.commit11 = commit
	built, err := s.build(ctx, "1.1")
	if err != nil {
		return err
	}
	s.v11 = built.Results["IMAGE_DIGEST"]
	if err := s.hold(ctx,
		ended("the build of 1.1 ends well", built, 0),
		s.world.Testing.holds("testing holds 1.1", "1.1", &s.v11),
		s.world.Testing.builtFrom("1.1 tells the commit that it was built from", "1.1", commit),
		s.world.Testing.holds("1.0 is what it was", "1.0", &s.v10),
	); err != nil {
		return err
	}
	tagged, err := s.retag(ctx, s.world.Dev, "1.1", s.v11, with{"EXPECT_CURRENT": s.v10})
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("the retag of dev to 1.1 ends well", tagged, 0),
		handedOn("it hands on what dev ran before", tagged, "PREVIOUS_DIGEST", s.v10),
	); err != nil {
		return err
	}
	if err := s.runs(ctx, s.world.Dev, "1.1", &s.v11, page11); err != nil {
		return err
	}
	return s.hold(ctx, s.world.Prod.shows("prod still shows 1.0", page10))
}

func (s *story) evolveProd(ctx context.Context) error {
	promoted, err := s.promote(ctx, "1.1", s.v11, nil)
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("the promotion of 1.1 ends well", promoted, 0),
		s.world.Production.holds("production holds 1.1", "1.1", &s.v11),
		s.world.Production.holds("production still holds 1.0", "1.0", &s.v10),
	); err != nil {
		return err
	}
	tagged, err := s.retag(ctx, s.world.Prod, "1.1", s.v11, with{"EXPECT_CURRENT": s.v10})
	if err != nil {
		return err
	}
	if err := s.hold(ctx, ended("the retag of prod to 1.1 ends well", tagged, 0)); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Prod, "1.1", &s.v11, page11)
}
