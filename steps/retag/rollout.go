package retag

import (
	"context"
	"fmt"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// rollOut waits until the workloads that follow the tag run its image, and says which do not follow it.
func (r *run) rollOut(ctx context.Context, tag imagestream.Tag) error {
	target := workload.Target{Name: r.Name, Digest: tag.Digest(), Repository: tag.Repository()}
	known, err := r.Streams.Image(ctx, r.Name.Stream, target.Digest)
	if err != nil && fault.KindOf(err) != fault.NotFound { // a pruned image can still be run
		return err
	}
	target.Children = known.Children

	r.survey, err = awaitRollout(ctx, r.rt, r.Workloads, target, r.watching)
	r.report.Workloads, r.report.Loose = r.survey.Followers, r.survey.Loose
	if err != nil {
		return err
	}
	for _, loose := range r.survey.Loose {
		r.rt.Log.Warn().Str("workload", loose).Msgf("it uses the image and has no image trigger on %s: it keeps what it runs", r.Name)
	}
	if len(r.survey.Followers) == 0 {
		r.rt.Log.Warn().Msgf("no workload follows %s: nothing is redeployed (CREATE_APP=true makes a first one)", r.Name)
	}
	return nil
}

// awaitRollout waits until the workloads run what they should, and tells on the way how far they are. A time that is over
// says what for.
func awaitRollout(
	ctx context.Context, rt *step.Runtime, workloads *workload.Client, target workload.Target, patience workload.Patience,
) (workload.Survey, error) {
	defer rt.Waiting(ctx, func() string { return "waiting for the rollout" })()
	told := map[string]string{}
	survey, err := workloads.Await(ctx, target, patience, func(survey workload.Survey) {
		for _, f := range survey.Followers {
			if state := string(f.Phase) + ": " + f.Message; told[f.Workload+f.Container] != state {
				told[f.Workload+f.Container] = state
				rt.Log.Info().Str("workload", f.Workload).Str("state", string(f.Phase)).Msg(f.Message)
			}
		}
	})
	if err != nil {
		if last := pending(survey); last != "" && fault.KindOf(err) == fault.TimedOut {
			err = fmt.Errorf("%w: %s", err, last)
		}
		return survey, err
	}
	for _, f := range survey.Followers {
		if f.Phase == workload.Untriggered || f.Phase == workload.Held {
			rt.Log.Warn().Str("workload", f.Workload).Msg("it does not take the new image by itself: " + f.Message)
		}
	}
	return survey, nil
}

// pending says in words what a rollout still waits for.
func pending(survey workload.Survey) string {
	var all []string
	for _, f := range survey.Followers {
		if f.Phase == workload.Waiting || f.Phase == workload.RollingOut {
			all = append(all, f.Workload+": "+f.Message)
		}
	}
	return strings.Join(all, "; ")
}

// report is what REPORT_FILE holds of a run.
type report struct {
	Previous   string `json:"previousDigest"`
	Current    string `json:"currentDigest"`
	RolledBack bool   `json:"rolledBack,omitempty"`
	// ScheduleEnded tells that the tag was imported from time to time before, and is not any more.
	ScheduleEnded bool                `json:"scheduledImportEnded,omitempty"`
	Created       []string            `json:"created,omitempty"`
	Host          string              `json:"host,omitempty"`
	Workloads     []workload.Follower `json:"workloads"`
	Loose         []string            `json:"withoutTrigger,omitempty"`
}

// table tells a person how it ended.
func (r *run) table() {
	table := step.NewTable(r.rt.Stdout)
	row := table.Row
	row("environment", r.Namespace+"/"+r.Name.String())
	row("points at", r.goal.change.From.Name)
	row("image", r.current)
	before := "nothing"
	if r.previous != "" {
		before = environment.Short(r.previous)
	}
	row("before", before)
	for _, f := range r.survey.Followers {
		row(f.Workload, string(f.Phase)+", "+f.Message)
	}
	if len(r.survey.Followers) == 0 {
		row("workloads", "none follows the tag")
	}
	table.Flush()
}
