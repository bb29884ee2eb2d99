package retag

import (
	"context"
	"errors"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

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
		previous, current = append(previous, image.DigestOf(before.Image)), append(current, image.DigestOf(now.Image))
	}
	r.report.Previous, r.report.Current = environment.Common(previous), environment.Common(current)
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
