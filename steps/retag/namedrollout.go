package retag

import (
	"context"
	"errors"
	"fmt"

	"dockline/pkg/image"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// rollOut waits until the workloads run what they were set to.
func (r *namedRun) rollOut(ctx context.Context) error {
	var target workload.Target
	for i, place := range r.places {
		target.Wanted = append(target.Wanted, workload.Wanted{
			Named: place.Named(), Image: r.goals[i].Now.Image, Children: r.children,
		})
	}
	survey, err := awaitRollout(ctx, r.rt, r.Environment.Workloads, target, r.watching)
	r.report.Workloads = survey.Followers
	return err
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
		current = append(current, image.DigestOf(place.Image))
	}
	r.report.Current = environment.Common(current)
	return r.rollOut(ctx)
}
