package retag

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// validateWorkloads returns what does not go with WORKLOADS, or without it.
func (c *Config) validateWorkloads() error {
	if c.Workloads == "" {
		if len(c.TakeOverFrom) > 0 {
			return step.Problem("TAKE_OVER_FROM is set: it goes with WORKLOADS only")
		}
		return nil
	}
	var problems []error
	for _, variable := range []struct {
		name string
		set  bool
	}{
		{"IMPORT_SCHEDULED", c.ImportScheduled != ""},
		{"IMPORT_INSECURE", c.ImportInsecure != ""},
		{"REFERENCE_POLICY", c.ReferencePolicy != ""},
		{"IMPORT_MODE", c.ImportMode != ""},
		{"CREATE_APP", c.CreateApp},
		{"APP_NAME", c.AppName != ""},
		{"ROLLBACK_TO", c.RollbackTo != ""},
	} {
		if variable.set {
			problems = append(problems, step.Problem("%s is set: it is about image streams, and does not go with WORKLOADS", variable.name))
		}
	}
	if c.ExpectCurrent == none {
		problems = append(problems, step.Problem("EXPECT_CURRENT: none does not go with WORKLOADS, whose pod templates always have an image"))
	}
	return errors.Join(problems...)
}

// runNamed sets the image of the workloads that WORKLOADS names, and sees the rollout through. One that was interrupted
// is completed by running again: what is set already is left alone.
func (c *Config) runNamed(parent context.Context, rt *step.Runtime, env *environment.Environment) (step.Outcome, error) {
	r := &namedRun{Config: c, Environment: env, rt: rt}
	ctx, cancel, ended := environment.WithTimeout(parent, c.Timeout)
	defer cancel()
	err := ended(r.do(ctx))
	if err != nil && len(r.written) > 0 && c.RollbackOnFailure && parent.Err() == nil {
		err = r.undo(parent, err)
	}
	if hint := r.brokenOff(err); parent.Err() != nil && hint != "" {
		err = &fault.Error{Hint: hint, Err: err}
	}
	outcome := step.Outcome{Report: r.report}
	if err == nil {
		r.table()
		outcome.Results = []step.Result{
			{Name: "PREVIOUS_DIGEST", Value: r.report.Previous}, {Name: "CURRENT_DIGEST", Value: r.report.Current},
		}
	}
	return outcome, err
}

// namedRun is one run with WORKLOADS.
type namedRun struct {
	*Config
	*environment.Environment
	rt       *step.Runtime
	registry *registry.Registry

	places   []workload.Place // as they were at the start
	goals    []workload.Kept  // what each place should have
	children []string         // digests of the images of an index that they should run
	writing  bool             // a workload may have been written
	undoing  bool
	written  []workload.Change
	report   namedReport
}

// namedReport is what REPORT_FILE holds of a run with WORKLOADS.
type namedReport struct {
	report
	Images []imageChange `json:"images"`
}

// imageChange is what became of one container.
type imageChange struct {
	Workload  string `json:"workload"`
	Container string `json:"container"`
	Previous  string `json:"previous,omitempty"` // image as the pod template had it
	Current   string `json:"current"`
}

func (r *namedRun) do(ctx context.Context) (err error) {
	if r.registry, err = r.Registry.Open(r.rt, "registry"); err != nil {
		return err
	}
	if r.places, err = r.Environment.Workloads.Find(ctx, r.Named); err != nil {
		return err
	}
	for _, place := range r.places {
		if tag := place.Followed(); tag != "" {
			return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Refused,
				"setting the image of %s: the cluster writes that of the image stream tag %s there", place, tag)),
				"Use STREAM_TAG instead of WORKLOADS.")
		}
	}
	if r.Rollback {
		err = r.aimBack(ctx)
	} else {
		err = r.aim(ctx)
	}
	if err != nil {
		return err
	}
	if err := r.checkCurrent(ctx); err != nil {
		return err
	}
	all := r.changes()
	for _, changes := range all { // the API tells what it would refuse of the last one before the first one is changed
		if err := r.Environment.Workloads.CheckImages(ctx, changes, r.TakeOverFrom); err != nil {
			return err
		}
	}
	r.tell()
	for _, changes := range all {
		r.writing = true
		if err := r.Environment.Workloads.SetImages(ctx, changes, r.TakeOverFrom); err != nil {
			return err
		}
		r.written = append(r.written, changes...)
	}
	return r.rollOut(ctx)
}

// aim finds out what each place should have: IMAGE by its digest, which every node can pull. (The version is kept beside
// it and not in it: CRI-O before 1.18, and again 1.31.0, refuses an image with both, cri-o/cri-o#2351 and #8603.)
func (r *namedRun) aim(ctx context.Context) error {
	parsed, err := image.Parse(r.Image)
	if err != nil {
		return err
	}
	repository := r.registry.Repository(parsed.Name)
	manifest, err := repository.Resolve(ctx, parsed.Version)
	if err != nil {
		return err
	}
	digest := manifest.Digest.String()
	if r.Digest != "" && r.Digest != digest {
		return fault.WithHint(fault.At("registry", fault.New(fault.Refused,
			"setting %s: %s stands for %s now, and %s is wanted", r.Config.Workloads, repository.Reference(parsed.Version), digest, r.Digest)),
			"The version was moved since DIGEST was taken. Nothing was changed; start again from the step that gave DIGEST.")
	}
	r.children = environment.ChildrenOf(manifest)
	now := workload.Setting{Image: repository.Reference(digest), From: repository.Reference(parsed.Version)}
	for _, place := range r.places {
		goal := workload.Kept{Now: now}
		if before := place.Setting(); before.Image != "" {
			goal.Before = &before
		}
		r.goals = append(r.goals, goal)
	}
	return nil
}

// aimBack finds out what each place had before. A place that was rolled back already stays as it is.
func (r *namedRun) aimBack(ctx context.Context) error {
	for _, place := range r.places {
		goal := workload.Kept{Now: place.Setting()}
		if place.RolledBack() {
			r.rt.Log.Info().Str("workload", place.String()).Str("from", place.Kept.RolledBackFrom).Msg("it was rolled back already")
		} else {
			before, found := place.Previous()
			if !found {
				return fault.WithHint(fault.At(cluster.Side, fault.New(fault.NotFound,
					"rolling back %s: no earlier image of it is kept", place)),
					"retag keeps what was there when it sets an image. Set the one that is wanted with IMAGE.")
			}
			present := place.Setting()
			goal = workload.Kept{Now: before, Before: &present, RolledBackFrom: place.Image}
		}
		if r.Digest != "" && digestOf(goal.Now.Image) != r.Digest {
			return fault.At(cluster.Side, fault.New(fault.NotFound,
				"rolling back %s: its earlier image is %s, and not %s", place, goal.Now.Image, r.Digest))
		}
		if err := r.checkPullable(ctx, place, goal.Now.Image); err != nil {
			return err
		}
		r.goals = append(r.goals, goal)
	}
	return nil
}

// checkPullable fails where an image is not in REGISTRY any more. That of another registry cannot be looked for.
func (r *namedRun) checkPullable(ctx context.Context, place workload.Place, reference string) error {
	repository, version, digest := image.SplitReference(reference)
	name, ours := strings.CutPrefix(repository, r.registry.Address()+"/")
	if !ours {
		r.rt.Log.Warn().Str("image", reference).Msg("it is not in REGISTRY: whether it still can be pulled is not known")
		return nil
	}
	at := digest
	if at == "" {
		at = version
	}
	manifest, err := r.registry.Repository(name).Resolve(ctx, at)
	if err != nil {
		return fmt.Errorf("rolling back %s: %w", place, err)
	}
	for _, child := range environment.ChildrenOf(manifest) {
		if !slices.Contains(r.children, child) {
			r.children = append(r.children, child)
		}
	}
	return nil
}

// checkCurrent refuses where a pod template has neither what EXPECT_CURRENT says nor what it should get: the latter is
// what an interrupted run leaves behind.
func (r *namedRun) checkCurrent(ctx context.Context) error {
	if r.ExpectCurrent == "" {
		return nil
	}
	for i, place := range r.places {
		if place.Image == r.goals[i].Now.Image {
			continue
		}
		now := digestOf(place.Image)
		same, err := environment.Same(r.ExpectCurrent, now, func() ([]string, error) {
			repository, _, _ := image.SplitReference(place.Image)
			name, ours := strings.CutPrefix(repository, r.registry.Address()+"/")
			if !ours {
				return nil, nil
			}
			manifest, present, err := r.registry.Repository(name).Lookup(ctx, r.ExpectCurrent)
			if err != nil || !present {
				return nil, err
			}
			return environment.ChildrenOf(manifest), nil
		})
		if err != nil {
			return err
		}
		if !same {
			return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Refused,
				"setting the image of %s: EXPECT_CURRENT says that it is %s, and it is %s", place, r.ExpectCurrent, place.Image)),
				"Somebody changed the environment since this was planned. Look at it with verify, and plan anew.")
		}
	}
	return nil
}

// changes returns what is to be written, by workload. What a place has already is not.
func (r *namedRun) changes() [][]workload.Change {
	var all [][]workload.Change
	for i, place := range r.places {
		if place.Image == r.goals[i].Now.Image {
			continue
		}
		all = group(all, workload.Change{Place: place, To: r.goals[i]})
	}
	return all
}

// group adds a change to those of its workload.
func group(all [][]workload.Change, change workload.Change) [][]workload.Change {
	for i := range all {
		if all[i][0].Place.Workload.String() == change.Place.Workload.String() {
			all[i] = append(all[i], change)
			return all
		}
	}
	return append(all, []workload.Change{change})
}

// tell fills in the report and the results. A digest that is not the same everywhere is none.
func (r *namedRun) tell() {
	var previous, current []string
	for i, place := range r.places {
		before := place.Setting()
		if place.Image == r.goals[i].Now.Image {
			before, _ = place.Previous() // an earlier run set it, or the image is unchanged
			r.rt.Log.Info().Str("workload", place.String()).Str("image", place.Image).Msg("it has this image already")
		} else {
			r.rt.Log.Info().Str("workload", place.String()).Str("from", place.Image).Str("to", r.goals[i].Now.Image).Msg("setting the image")
		}
		now := r.goals[i].Now
		r.report.Images = append(r.report.Images, imageChange{
			Workload: place.Workload.String(), Container: place.Container, Previous: before.Image, Current: now.Image,
		})
		previous, current = append(previous, digestOf(before.Image)), append(current, digestOf(now.Image))
	}
	r.report.Previous, r.report.Current = environment.Common(previous), environment.Common(current)
}

func digestOf(reference string) string {
	_, _, digest := image.SplitReference(reference)
	return digest
}

// rollOut waits until the workloads run what they were set to.
func (r *namedRun) rollOut(ctx context.Context) error {
	var target workload.Target
	for i, place := range r.places {
		target.Wanted = append(target.Wanted, workload.Wanted{
			Named: place.Named(), Image: r.goals[i].Now.Image, Children: r.children,
		})
	}
	done := r.rt.Waiting(ctx, func() string { return "waiting for the rollout" })
	defer done()
	told := map[string]string{}
	survey, err := r.Environment.Workloads.Await(ctx, target, r.watching, func(survey workload.Survey) {
		for _, f := range survey.Followers {
			if state := string(f.Phase) + ": " + f.Message; told[f.Workload+f.Container] != state {
				told[f.Workload+f.Container] = state
				r.rt.Log.Info().Str("workload", f.Workload).Str("state", string(f.Phase)).Msg(f.Message)
			}
		}
	})
	r.report.Workloads = survey.Followers
	if last := pending(survey); last != "" && fault.KindOf(err) == fault.TimedOut {
		err = fmt.Errorf("%w: %s", err, last)
	}
	if err != nil {
		return err
	}
	for _, f := range survey.Followers {
		if f.Phase == workload.Held {
			r.rt.Log.Warn().Str("workload", f.Workload).Msg("it does not take the new image by itself: " + f.Message)
		}
	}
	return nil
}

// undo gives all places that were written what they had before, and returns why.
func (r *namedRun) undo(parent context.Context, why error) error {
	r.rt.Log.Warn().Err(why).Msg("going back: pods may have been replaced already")
	ctx, cancel, ended := environment.WithTimeout(parent, r.Timeout)
	defer cancel()
	r.undoing = true
	if err := ended(r.putBack(ctx)); err != nil {
		return errors.Join(fmt.Errorf("%w; going back did not work either", why), err)
	}
	r.undoing, r.report.RolledBack = false, true
	return fmt.Errorf("%w (the workloads have again what they had before)", why)
}

func (r *namedRun) putBack(ctx context.Context) error {
	var all [][]workload.Change
	for _, done := range r.written {
		was := done.Place
		if was.Image == "" {
			return fmt.Errorf("%s had no image before", was)
		}
		back := workload.Kept{Now: was.Setting(), Before: was.Kept.Before, RolledBackFrom: done.To.Now.Image}
		was.Image = done.To.Now.Image
		all = group(all, workload.Change{Place: was, To: back})
	}
	var problems []error
	for _, changes := range all { // one that cannot be put back is no reason to leave the others
		problems = append(problems, r.Environment.Workloads.SetImages(ctx, changes, r.TakeOverFrom))
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	r.children = nil
	for i, place := range r.places {
		r.goals[i] = workload.Kept{Now: place.Setting()}
		if err := r.checkPullable(ctx, place, place.Image); err != nil {
			r.rt.Log.Warn().Err(err).Msg("looking for what was there before")
		}
	}
	var current []string
	for i, place := range r.places {
		r.report.Images[i].Current = place.Image
		current = append(current, digestOf(place.Image))
	}
	r.report.Current = environment.Common(current)
	return r.rollOut(ctx)
}

// brokenOff says how things stand when the run was interrupted in this error, as for an image stream tag.
func (r *namedRun) brokenOff(err error) string {
	switch {
	case !errors.Is(err, context.Canceled):
		return ""
	case r.undoing:
		return "the workloads were being put back after a failure: look with verify before you start anything"
	case r.writing:
		return "some of the workloads may have been set already: start the same step again to see it through"
	}
	return ""
}

// table tells a person how it ended.
func (r *namedRun) table() {
	table := step.NewTable(r.rt.Stdout)
	table.Row("environment", r.Namespace)
	for i, change := range r.report.Images {
		table.Row(r.places[i].Named().String(), change.Current)
		if change.Previous != "" {
			table.Row("  before", change.Previous)
		}
		if i < len(r.report.Workloads) {
			f := r.report.Workloads[i]
			table.Row("  rollout", string(f.Phase)+", "+f.Message)
		}
	}
	table.Flush()
}
