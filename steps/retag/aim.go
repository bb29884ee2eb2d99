package retag

import (
	"context"
	"slices"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
	"dockline/steps/environment"
)

// aim finds out what the tag should become, without changing anything: the digest, from DIGEST or the registry, and
// whether the cluster itself can pull it.
func (r *run) aim(ctx context.Context) (goal, error) {
	if r.Rollback {
		return r.aimBack()
	}
	parsed, err := image.Parse(r.Image)
	if err != nil {
		return goal{}, err
	}
	wanted := goal{digest: r.Digest, change: imagestream.Change{
		From:      imagestream.From{Kind: imagestream.DockerImage, Name: r.repository.Reference(parsed.Version)},
		Scheduled: choice(r.ImportScheduled), Insecure: choice(r.ImportInsecure),
		ImportMode: r.ImportMode, ReferencePolicy: r.ReferencePolicy,
		Annotations: map[string]string{rolledBackFrom: ""},
	}}
	if wanted.digest == "" {
		manifest, err := r.repository.Resolve(ctx, parsed.Version)
		if err != nil {
			return goal{}, err
		}
		wanted.digest = manifest.Digest.String()
	}
	wanted.change.Annotations[environment.Retagged] = wanted.change.From.Name
	isNew := r.before.From.Kind == ""
	if isNew && wanted.change.Insecure == nil && r.Registry.Insecure {
		wanted.change.Insecure = &r.Registry.Insecure
	}
	insecure := r.before.Insecure
	if wanted.change.Insecure != nil {
		insecure = *wanted.change.Insecure
	}
	pull, err := r.Streams.Ask(ctx, r.Name.Stream, wanted.change.From.Name, insecure)
	if err != nil {
		return goal{}, err
	}
	wanted.children, wanted.ports = pull.Children, pull.Ports
	same, err := environment.Same(wanted.digest, pull.Digest, func() ([]string, error) {
		if len(pull.Children) > 0 {
			return nil, nil // an index itself, and not one of another's images
		}
		// A cluster that knows no import modes tells of one image where the version is an index.
		var err error
		wanted.children, err = r.childrenOf(ctx, r.repository.String(), wanted.digest, insecure)
		return wanted.children, err
	})
	if err != nil {
		return goal{}, err
	}
	if !same {
		return goal{}, fault.WithHint(fault.At("registry", fault.New(fault.Refused,
			"moving %s: %s stands for %s now, and %s is wanted", r.Name, wanted.change.From.Name, pull.Digest, wanted.digest)),
			"The version was moved since DIGEST was taken. Nothing was changed; start again from the step that gave DIGEST.")
	}
	if isNew && wanted.change.ImportMode == "" && len(pull.Children) > 0 {
		wanted.change.ImportMode = imagestream.PreserveOriginal
	}
	return wanted, nil
}

// childrenOf has the cluster look at the image of this digest, and returns the digests of its images that a tag can mean.
// That it is not there is no error: then it has none.
func (r *run) childrenOf(ctx context.Context, repository, digest string, insecure bool) ([]string, error) {
	pull, err := r.Streams.Ask(ctx, r.Name.Stream, repository+"@"+digest, insecure)
	if fault.KindOf(err) == fault.NotFound {
		return nil, nil
	}
	return append(pull.Children, pull.Digest), err
}

// rolledBackFrom is the annotation on a tag that was rolled back: the digest that it was rolled back from. It keeps a
// second rollback, such as a job that is retried, from bringing the bad image back.
const rolledBackFrom = "dockline/rolled-back-from"

// aimBack finds the image to go back to.
func (r *run) aimBack() (goal, error) {
	digest := r.Digest
	switch {
	case r.RollbackTo != "":
		return r.aimTo()
	case digest != "":
		if !slices.ContainsFunc(r.before.History, func(i imagestream.Item) bool { return i.Digest == digest }) {
			return goal{}, r.notInHistory("no image " + digest)
		}
	case rolledBack(r.before):
		digest = r.before.Digest()
		r.rt.Log.Info().Str("from", r.before.Annotations[rolledBackFrom]).Msg("the tag was rolled back already")
	default:
		item, found := r.before.Previous()
		if !found {
			return goal{}, r.notInHistory("no earlier image")
		}
		digest = item.Digest
	}
	r.endSchedule()
	return goal{digest: digest, change: r.back(digest, r.before.Digest())}, nil
}

// back is the change that points the tag at an image of its own history. An image of the stream is used rather than
// its reference in the registry: it needs no import, and cannot have been moved.
func (r *run) back(digest, from string) imagestream.Change {
	change := imagestream.Change{
		From: imagestream.From{Kind: imagestream.ImageStreamImage, Name: r.Name.Stream + "@" + digest},
	}
	change.Annotations = map[string]string{environment.Retagged: change.From.Name}
	if digest != from && from != "" {
		change.Annotations[rolledBackFrom] = from
	}
	return change
}

// endSchedule tells that an image of the stream, unlike a version in a registry, is not imported from time to time.
func (r *run) endSchedule() {
	if r.before.Scheduled {
		r.report.ScheduleEnded = true
		r.rt.Log.Warn().Msg("scheduled import ends with the rollback: a later retag with IMPORT_SCHEDULED=true starts it again")
	}
}

// restored is back with all that the failed run may have changed on the tag as it was before.
func (r *run) restored(digest, from string) imagestream.Change {
	change := r.back(digest, from)
	change.Insecure, change.ReferencePolicy, change.ImportMode = &r.before.Insecure, r.before.ReferencePolicy, r.before.ImportMode
	if change.ImportMode == "" && r.goal.change.ImportMode != "" {
		change.ImportMode = imagestream.Legacy // what no mode means
	}
	if earlier := r.before.Annotations[rolledBackFrom]; earlier != "" && change.Annotations[rolledBackFrom] == "" {
		change.Annotations[rolledBackFrom] = earlier
	}
	r.restoreVersions(&change)
	return change
}

// backTo rolls back after a failure and sees it through.
func (r *run) backTo(ctx context.Context, digest, from string) error {
	stream, err := r.Streams.Get(ctx, r.Name.Stream)
	if err != nil {
		return err
	}
	tag, _ := stream.Tag(r.Name.Tag)
	if tag.From != r.goal.change.From {
		return fault.At(cluster.Side, fault.New(fault.Refused,
			"rolling back %s: somebody else pointed it at %s in the meantime", r.Name, tag))
	}
	r.endSchedule()
	change := r.restored(digest, from)
	generation, err := r.Streams.Move(ctx, stream, r.Name, change)
	if err != nil {
		return err
	}
	if tag, err = r.Streams.AwaitImport(ctx, r.Name, generation, change.From); err != nil {
		return err
	}
	return r.rollOut(ctx, tag)
}
