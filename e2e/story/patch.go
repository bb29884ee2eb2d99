package story

import "context"

// patchScheduled is the first case of a patch: dev's tag is imported anew from time to time, so that a build alone
// brings the patch, and verify sees it through.
func (s *story) patchScheduled(ctx context.Context) error {
	built, err := s.buildPatch(ctx, "Patch", pagePatch1, &s.patch1)
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("the build of the first patch ends well", built, 0),
		s.world.Testing.holds("testing holds the first patch as 1.1", "1.1", &s.patch1),
		s.world.Testing.holds("the image without the patch is still there under its commit", "commit-"+s.commit11, &s.v11),
	); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Dev, "1.1", &s.patch1, pagePatch1)
}

// patchRetagged is the second case: nothing comes by itself, verify says so, and a retag brings the patch.
func (s *story) patchRetagged(ctx context.Context) error {
	fixed, err := s.retag(ctx, s.world.Dev, "1.1", s.patch1, with{"IMPORT_SCHEDULED": "false"})
	if err != nil {
		return err
	}
	built, err := s.buildPatch(ctx, "Patch again", pagePatch2, &s.patch2)
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("scheduled import is switched off", fixed, 0),
		s.world.Dev.scheduled("dev's tag is not imported by itself any more", false),
		ended("the build of the second patch ends well", built, 0),
		s.world.Testing.holds("testing holds the second patch as 1.1", "1.1", &s.patch2),
	); err != nil {
		return err
	}
	judged, err := s.verify(ctx, s.world.Dev, with{
		"EXPECT_IMAGE": ImageName + ":1.1", "EXPECT_DIGEST": s.patch2, "TIMEOUT": "",
	})
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("verify finds dev wrong (exit status 8)", judged, 8),
		handedOn("it hands on its verdict all the same", judged, "VERDICT", "wrong"),
		s.world.Dev.shows("dev still shows the first patch", pagePatch1),
	); err != nil {
		return err
	}
	tagged, err := s.retag(ctx, s.world.Dev, "1.1", s.patch2, nil)
	if err != nil {
		return err
	}
	if err := s.hold(ctx,
		ended("the retag to the same version ends well", tagged, 0),
		handedOn("it hands on that dev ran the first patch", tagged, "PREVIOUS_DIGEST", s.patch1),
	); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Dev, "1.1", &s.patch2, pagePatch2)
}

// promoteRefused has the guard say no: production's 1.1 is another image.
func (s *story) promoteRefused(ctx context.Context) error {
	refused, err := s.promote(ctx, "1.1", s.patch2, nil)
	if err != nil {
		return err
	}
	return s.hold(ctx,
		ended("the promotion is refused (exit status 3)", refused, 3),
		says("its last line names the image that production holds", refused, &s.v11),
		says("its last line names the image that was to come", refused, &s.patch2),
		handedOn("it hands on no digest", refused, "DESTINATION_DIGEST", ""),
		s.world.Production.holds("production still holds 1.1 without a patch", "1.1", &s.v11),
	)
}

// promoteForced replaces it: the image that was replaced is there still.
func (s *story) promoteForced(ctx context.Context) error {
	forced, err := s.promote(ctx, "1.1", s.patch2, with{
		"FORCE": "true", "FORCE_REASON": "the patch keeps the version",
	})
	if err != nil {
		return err
	}
	backup := "1.1-replaced-" + s.v11[len("sha256:"):][:8]
	if err := s.hold(ctx,
		ended("the forced promotion ends well", forced, 0),
		handedOn("it says that an image was replaced", forced, "PROMOTION", "forced"),
		s.world.Production.holds("production holds the patched 1.1", "1.1", &s.patch2),
		s.world.Production.holds("the replaced image is there under its backup tag", backup, &s.v11),
		s.world.Production.whole("the replaced image is whole", backup),
	); err != nil {
		return err
	}
	tagged, err := s.retag(ctx, s.world.Prod, "1.1", s.patch2, with{"EXPECT_CURRENT": s.v11})
	if err != nil {
		return err
	}
	if err := s.hold(ctx, ended("the retag of prod to the patched 1.1 ends well", tagged, 0)); err != nil {
		return err
	}
	return s.runs(ctx, s.world.Prod, "1.1", &s.patch2, pagePatch2)
}

// describe asks, weeks later, which image each environment was tagged from.
func (s *story) describe(ctx context.Context) error {
	for _, environment := range []struct {
		*Environment
		history []*string
	}{
		{s.world.Dev, []*string{&s.patch2, &s.patch1, &s.v11, &s.v10}},
		{s.world.Prod, []*string{&s.patch2, &s.v11, &s.v10}},
	} {
		described, err := s.verify(ctx, environment.Environment, with{"TIMEOUT": ""})
		if err != nil {
			return err
		}
		name := environment.Namespace
		facts := []Fact{
			ended(name+" is described", described, 0),
			handedOn(name+": nothing was judged", described, "VERDICT", "described"),
			prints(name+": it tells where the tag was tagged from", described, environment.registry.Host+"/"+ImageName+":1.1"),
			prints(name+": it tells the digest", described, s.patch2),
			environment.remembers(name+"'s history is what happened", environment.history),
		}
		if err := s.hold(ctx, facts...); err != nil {
			return err
		}
		s.teller.quote(described.Stdout)
	}
	return s.hold(ctx, s.world.kept("no password and no token is in anything that a step wrote"))
}
