package retag

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// Run moves the tag and sees the rollout through. A move that was interrupted is completed by running again.
func (c *Config) Run(parent context.Context, rt *step.Runtime) (step.Outcome, error) {
	env, err := environment.Open(rt, c.Cluster, c.calls, c.Settings)
	if err != nil {
		return step.Outcome{}, err
	}
	if len(env.Named) > 0 {
		return c.runNamed(parent, rt, env)
	}
	r := &run{Config: c, Environment: env, rt: rt}
	ctx, cancel, ended := environment.WithTimeout(parent, c.Timeout)
	defer cancel()
	err = ended(r.do(ctx))
	if err != nil && r.moved && c.RollbackOnFailure && parent.Err() == nil {
		err = r.undo(parent, err)
	}
	if hint := r.brokenOff(err); parent.Err() != nil && hint != "" {
		err = &fault.Error{Hint: hint, Err: err} // instead of the failure's own, where one was being undone
	}
	r.report.Previous, r.report.Current = r.previous, r.current
	outcome := step.Outcome{Report: r.report}
	if err == nil {
		r.table()
		outcome.Results = []step.Result{
			{Name: "PREVIOUS_DIGEST", Value: r.previous}, {Name: "CURRENT_DIGEST", Value: r.current},
		}
	}
	return outcome, err
}

// run is one run: what it was told, and what it learned on the way.
type run struct {
	*Config
	*environment.Environment
	rt         *step.Runtime
	repository *registry.Repository // nil with ROLLBACK

	before   imagestream.Tag // as it was at the start
	moving   bool            // the tag may have been written
	moved    bool            // the tag was written
	undoing  bool            // the tag is being pointed back
	goal     goal
	previous string // digest that the tag meant before
	current  string // digest that it means now
	survey   workload.Survey
	report   report
}

// goal is what the tag should point at and mean.
type goal struct {
	change   imagestream.Change
	digest   string
	children []string // of an index: in Legacy mode the tag means one of them
	ports    []string
}

// met tells whether a tag that means this digest means what was wanted.
func (g goal) met(digest string) bool {
	return g.digest == digest || slices.Contains(g.children, digest)
}

func (r *run) do(ctx context.Context) error {
	stream, err := r.find(ctx)
	if err != nil {
		return err
	}
	r.before, _ = stream.Tag(r.Name.Tag)
	r.previous, r.current = r.before.Digest(), r.before.Digest()
	if !r.Rollback {
		if err := r.openRegistry(); err != nil {
			return err
		}
	}
	if err := r.checkCurrent(ctx); err != nil {
		return err
	}
	if r.goal, err = r.aim(ctx); err != nil {
		return err
	}
	tag, err := r.move(ctx, stream)
	if err != nil {
		return err
	}
	if r.current = tag.Digest(); r.previous == r.current {
		item, _ := tag.Previous() // an earlier run moved it, or the image is unchanged
		r.previous = item.Digest
	}
	if !r.goal.met(r.current) {
		return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Wrong,
			"importing %s: the cluster imported %s instead of %s", r.Name, environment.OrNothing(r.current), r.goal.digest)),
			"The version was moved in the registry in the meantime. Pods may have been replaced already.")
	}
	if r.CreateApp {
		if err := r.createApp(ctx, tag); err != nil {
			return err
		}
	}
	return r.rollOut(ctx, tag)
}

func (r *run) openRegistry() error {
	parsed, err := image.Parse(r.Image)
	if err != nil {
		return err
	}
	opened, err := r.Registry.Open(r.rt, "registry")
	if err != nil {
		return err
	}
	r.repository = opened.Repository(parsed.Name)
	return nil
}

// checkCurrent refuses where the environment does not run what EXPECT_CURRENT says.
func (r *run) checkCurrent(ctx context.Context) error {
	now := r.before.Digest()
	if r.ExpectCurrent == "" || r.ExpectCurrent == none && now == "" {
		return nil
	}
	same, err := environment.Same(r.ExpectCurrent, now, func() ([]string, error) {
		if r.ExpectCurrent == none {
			return nil, nil
		}
		return r.childrenOf(ctx, r.before.Repository(), r.ExpectCurrent, r.before.Insecure)
	})
	if same || err != nil {
		return err
	}
	return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Refused,
		"moving %s: EXPECT_CURRENT says that it means %s, and it means %s", r.Name, r.ExpectCurrent, environment.OrNothing(now))),
		"Somebody changed the environment since this was planned. Look at it with verify, and plan anew.")
}

// move writes the tag and waits for its import, unless it is as wanted already.
func (r *run) move(ctx context.Context, stream *imagestream.Stream) (imagestream.Tag, error) {
	log := r.rt.Log.With().Str("tag", r.Namespace+"/"+r.Name.String()).Logger()
	if r.unneeded() {
		log.Info().Str("digest", r.before.Digest()).Msg("the tag points there already")
		return r.before, nil
	}
	from := r.goal.change.From
	log.Info().Str("from", r.before.String()).Str("to", from.Name).Str("digest", r.goal.digest).Msg("moving the tag")
	r.moving = true
	r.rememberVersion(&r.goal.change)
	generation, err := r.Streams.Move(ctx, stream, r.Name, r.goal.change)
	if err != nil {
		return imagestream.Tag{}, err
	}
	r.moved = true
	done := r.rt.Waiting(ctx, func() string { return fmt.Sprintf("waiting for the cluster to import %s", from.Name) })
	defer done()
	tag, err := r.Streams.AwaitImport(ctx, r.Name, generation, from)
	if err != nil {
		return tag, err
	}
	log.Info().Str("digest", tag.Digest()).Msg("imported")
	return tag, nil
}

// unneeded tells whether a write would change nothing but generations.
func (r *run) unneeded() bool {
	change, tag := r.goal.change, r.before
	return tag.From == change.From && tag.Settled() && tag.Failure == nil &&
		(change.Scheduled == nil || *change.Scheduled == tag.Scheduled) &&
		(change.Insecure == nil || *change.Insecure == tag.Insecure) &&
		(change.ImportMode == "" || change.ImportMode == tag.ImportMode) &&
		(change.ReferencePolicy == "" || change.ReferencePolicy == tag.ReferencePolicy) &&
		r.goal.met(tag.Digest())
}

func (r *run) createApp(ctx context.Context, tag imagestream.Tag) error {
	app := workload.App{Name: r.AppName, Tag: r.Name, Image: tag.History[0].Reference, Ports: r.goal.ports}
	if app.Name == "" {
		app.Name = r.Name.Stream
	}
	created, err := r.Workloads.CreateApp(ctx, app)
	for _, object := range created.Objects {
		r.rt.Log.Info().Str("object", object).Msg("created")
	}
	if created.NoRoute {
		r.rt.Log.Warn().Msg("the cluster knows no Routes: the service cannot be reached from outside yet")
	}
	if created.Host != "" {
		r.rt.Log.Info().Str("host", created.Host).Msg("the service is reached by its Route")
	}
	r.report.Created, r.report.Host = created.Objects, created.Host
	return err
}

// brokenOff says how things stand when the run was interrupted in this error; "" while nothing was changed yet, and where
// the run had failed before. The tag is not put back then: that takes longer than a step has to stop, and nothing has
// failed.
func (r *run) brokenOff(err error) string {
	switch {
	case !errors.Is(err, context.Canceled):
		return ""
	case r.undoing:
		return fmt.Sprintf("the tag was being put back to %s after a failure: look with verify before you start anything",
			r.before.Digest())
	case r.moved:
		return "the tag was moved already, and pods may be rolling: start the same step again to see the rollout through"
	case r.moving:
		return "the tag may have been moved already: start the same step again to see it through"
	}
	return ""
}

// undo points the tag back at what it meant before, and returns why.
func (r *run) undo(parent context.Context, why error) error {
	if r.before.Digest() == "" {
		return fmt.Errorf("%w (there is no earlier image to go back to)", why)
	}
	r.rt.Log.Warn().Err(why).Str("to", r.before.Digest()).Msg("going back: pods may have been replaced already")
	ctx, cancel, ended := environment.WithTimeout(parent, r.Timeout)
	defer cancel()
	r.undoing = true
	err := ended(r.backTo(ctx, r.before.Digest(), r.current))
	if err != nil {
		return errors.Join(fmt.Errorf("%w; going back to %s did not work either", why, r.before.Digest()), err)
	}
	r.undoing, r.report.RolledBack = false, true
	r.current = r.before.Digest()
	if r.report.ScheduleEnded {
		return fmt.Errorf("%w (the environment is back at %s, without its scheduled import)", why, r.before.Digest())
	}
	return fmt.Errorf("%w (the environment is back at %s)", why, r.before.Digest())
}
