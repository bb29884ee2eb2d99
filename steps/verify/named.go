package verify

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dockline/pkg/image"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// describeNamed reads the workloads that WORKLOADS names. The image of the environment is the one that all of their pod
// templates have, by its digest; while they differ, or one has none, there is no such image.
func (r *run) describeNamed(ctx context.Context, report *Report) error {
	places, err := r.env.Workloads.Find(ctx, r.env.Named)
	if err != nil {
		return err
	}
	var digests, origins []string
	target := workload.Target{}
	for _, place := range places {
		repository, version, digest := image.SplitReference(place.Image)
		origin := place.Setting().From
		if origin == "" && version != "" {
			origin = repository + ":" + version
		}
		digests, origins = append(digests, digest), append(origins, origin)
		target.Wanted = append(target.Wanted, workload.Wanted{Named: place.Named(), Image: place.Image})
	}
	report.Digest = environment.Common(digests)
	report.TaggedFrom = environment.Common(origins)
	if report.Digest != "" {
		if report.children, err = r.childrenNamed(ctx, places[0].Image, report.Digest); err != nil {
			return err
		}
	}
	for i := range target.Wanted {
		target.Wanted[i].Children = report.children
	}
	survey, err := r.env.Workloads.Survey(ctx, target)
	report.Workloads = survey.Followers
	return err
}

// childrenNamed returns the digests of the images of an index, one of which a pod may report instead: from REGISTRY, if
// it holds the image.
func (r *run) childrenNamed(ctx context.Context, reference, digest string) ([]string, error) {
	repository, _ := r.sourceOf(reference)
	if repository == nil {
		return nil, nil
	}
	manifest, present, err := repository.Lookup(ctx, digest)
	if err != nil || !present { // one that was deleted there can still be run
		return nil, r.unlessDescribing(ctx, err)
	}
	return environment.ChildrenOf(manifest), nil
}

// unlessDescribing drops the error of a registry that cannot be read while nothing is expected: it is no reason not to
// describe the rest.
func (r *run) unlessDescribing(ctx context.Context, err error) error {
	if r.judges() || ctx.Err() != nil {
		return err
	}
	return nil
}

// checkSet finds pod templates that have no digest, which do not say what their pods run, or not the same one.
func checkSet(report *Report) Check {
	check := Check{Name: "set", Expected: "every pod template has one image, by its digest", Status: passed}
	var images []string
	for _, f := range report.Workloads {
		images = append(images, f.Image)
	}
	if report.Digest != "" {
		check.Found = strings.Join(slices.Compact(images), ", ")
		return check
	}
	check.Status = failed
	var found []string
	for _, f := range report.Workloads {
		found = append(found, fmt.Sprintf("%s (container %s) has %s", f.Workload, f.Container, f.Image))
	}
	check.Found = strings.Join(found, "; ")
	return check
}

// templateDigests returns the digests that a pod of this template can report; none for a template without a digest.
func templateDigests(report *Report, f workload.Follower) []string {
	_, _, digest := image.SplitReference(f.Image)
	if digest == "" {
		return nil
	}
	return append([]string{digest}, report.children...)
}
