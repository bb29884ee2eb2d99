package verify

import (
	"context"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// describe reads the stream tag and the workloads that follow it.
func (r *run) describe(ctx context.Context, report *Report) error {
	if report.Named != "" {
		return r.describeNamed(ctx, report)
	}
	stream, err := r.env.Streams.Get(ctx, r.env.Name.Stream)
	if err != nil {
		return err
	}
	tag, found := stream.Tag(r.env.Name.Tag)
	if !found {
		return fault.At(cluster.Side, fault.New(fault.NotFound,
			"reading %s in the namespace %q: the stream has no tag %q", r.env.Name, r.Namespace, r.env.Name.Tag))
	}
	report.TaggedFrom = tag.From.Name
	report.Scheduled = tag.Scheduled
	report.ImportMode = tag.ImportMode
	report.Digest = tag.Digest()
	report.settled = tag.Settled()
	report.retagged = tag.Annotations[environment.Retagged]
	if tag.Failure != nil {
		report.ImportError = &ImportError{Reason: tag.Failure.Reason, Message: tag.Failure.Message, Since: tag.Failure.Since}
	}
	for _, item := range tag.History {
		report.History = append(report.History, HistoryItem{Digest: item.Digest, Reference: item.Reference, Since: item.Created})
	}
	var known imagestream.Pull
	if report.Digest != "" {
		if known, err = r.env.Streams.Image(ctx, r.env.Name.Stream, report.Digest); err != nil &&
			fault.KindOf(err) != fault.NotFound { // a pruned image can still be run
			return err
		}
		report.children, report.created = known.Children, built(known)
		report.Version = known.Labels["org.opencontainers.image.version"]
		report.Revision = known.Labels["org.opencontainers.image.revision"]
	}
	target := workload.Target{Name: r.env.Name, Digest: report.Digest, Children: known.Children, Repository: tag.Repository()}
	survey, err := r.env.Workloads.Survey(ctx, target)
	if err != nil {
		return err
	}
	report.Workloads, report.Loose = survey.Followers, survey.Loose
	return nil
}
