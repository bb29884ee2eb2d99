package story

import (
	"context"
	"maps"
)

// with are variables for one run of a step, beside or instead of the usual ones.
type with map[string]string

// caFile is where a step finds the CA of all servers.
const caFile = "/kaniko/ca.pem"

// run runs a step program with the usual variables and these.
func (s *story) run(ctx context.Context, step string, usual, special with) (*Outcome, error) {
	environment := with{"TIMEOUT": "60s"}
	maps.Copy(environment, usual)
	maps.Copy(environment, special)
	outcome, err := s.runner.Run(ctx, Job{
		Step: step, Environment: environment, Files: map[string]string{caFile: string(s.world.CA)},
	})
	if err != nil {
		return nil, err
	}
	s.world.remember(outcome)
	s.teller.ran(outcome)
	return outcome, nil
}

// build has the head of develop built and pushed to testing.
func (s *story) build(ctx context.Context, version string) (*Outcome, error) {
	testing := s.world.Testing
	return s.run(ctx, "clone-build-push", with{
		"GIT_URL": s.world.gitURL, "GIT_REVISION": "develop", "GIT_USERNAME": gitUser, "GIT_PASSWORD": s.world.gitPassword,
		"GIT_CA_FILE": caFile, "CONTEXT_DIR": "hello_v" + version, "IMAGE": ImageName + ":" + version,
		"BUILD_ARGS": "BASE=" + testing.Host + "/" + BaseName,
		"REGISTRY":   testing.Host, "REGISTRY_USERNAME": testing.Username, "REGISTRY_PASSWORD": testing.Password,
		"REGISTRY_CA_FILE": caFile,
	}, nil)
}

// buildPatch has 1.1 built again with another page.
func (s *story) buildPatch(ctx context.Context, message, page string, digest *string) (*Outcome, error) {
	if _, err := s.world.commit(message, hello{"1.0": page10, "1.1": page}); err != nil {
		return nil, err
	}
	built, err := s.build(ctx, "1.1")
	if err == nil {
		*digest = built.Results["IMAGE_DIGEST"]
	}
	return built, err
}

// promote has a version copied from testing to production: the very image that was tested.
func (s *story) promote(ctx context.Context, version, digest string, special with) (*Outcome, error) {
	from, to := s.world.Testing, s.world.Production
	return s.run(ctx, "promote", with{
		"IMAGE": ImageName + ":" + version, "DIGEST": digest, "REQUIRE": "DIGEST",
		"SOURCE_REGISTRY": from.Host, "SOURCE_REGISTRY_USERNAME": from.Username,
		"SOURCE_REGISTRY_PASSWORD": from.Password, "SOURCE_REGISTRY_CA_FILE": caFile,
		"TARGET_REGISTRY": to.Host, "TARGET_REGISTRY_USERNAME": to.Username,
		"TARGET_REGISTRY_PASSWORD": to.Password, "TARGET_REGISTRY_CA_FILE": caFile,
	}, special)
}

// retag has an environment's tag pointed at a version in its registry.
func (s *story) retag(ctx context.Context, in *Environment, version, digest string, special with) (*Outcome, error) {
	usual := in.variables()
	maps.Copy(usual, with{"IMAGE": ImageName + ":" + version, "DIGEST": digest, "REQUIRE": "DIGEST"})
	maps.Copy(usual, in.registry.variables())
	return s.run(ctx, "retag", usual, special)
}

// verify has an environment described or judged.
func (s *story) verify(ctx context.Context, in *Environment, special with) (*Outcome, error) {
	usual := in.variables()
	maps.Copy(usual, in.registry.variables())
	return s.run(ctx, "verify", usual, special)
}

// runs verifies that an environment runs an image and shows its page, and looks for itself whether that is so.
func (s *story) runs(ctx context.Context, in *Environment, version string, digest *string, page string) error {
	judged, err := s.verify(ctx, in, with{
		"EXPECT_IMAGE": ImageName + ":" + version, "EXPECT_DIGEST": *digest, "REQUIRE": "EXPECT_DIGEST",
		"URL": in.URL(), "EXPECT_TEXT": page,
	})
	if err != nil {
		return err
	}
	name := in.Namespace
	return s.hold(ctx,
		ended(name+" is verified", judged, 0),
		handedOn(name+": the verdict is right", judged, "VERDICT", "right"),
		in.means(name+"'s tag means that image", digest),
		in.pods(name+"'s pods run that image", digest),
		in.shows(name+" shows its page", page),
	)
}
