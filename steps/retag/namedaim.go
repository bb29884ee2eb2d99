package retag

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

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
		if r.Digest != "" && image.DigestOf(goal.Now.Image) != r.Digest {
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
		now := image.DigestOf(place.Image)
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
