package clonebuildpush

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// The phases of the step, for a pod that does each in a container of its own with only its own secret. What they trust
// of each other is in docs/decisions/0006-three-phases.md.
const (
	phaseClone = "clone"
	phaseBuild = "build"
	phasePush  = "push"
)

// runClone leaves the work tree and what is known of its commit in CHECKOUT_DIR, and the seal's key in IMAGE_DIR.
func (r *runner) runClone(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	folder, err := openFolder("CHECKOUT_DIR", r.CheckoutDir)
	if err != nil {
		return step.Outcome{}, err
	}
	defer folder.Close()
	images, err := openFolder("IMAGE_DIR", r.ImageDir)
	if err != nil {
		return step.Outcome{}, err
	}
	defer images.Close()
	err = errors.Join(removeAll(folder, checkoutName, sourceName), removeAll(images, sealName, sealedName, layoutName))
	if err != nil {
		return step.Outcome{}, err
	}
	addresses, err := r.registryAddresses(ctx)
	if err != nil {
		return step.Outcome{}, err
	}
	from, err := r.clone(ctx, rt, filepath.Join(r.CheckoutDir, sourceName))
	if err != nil {
		return step.Outcome{}, err
	}
	public, err := newSeal(images)
	if err != nil {
		return step.Outcome{}, err
	}
	err = writeCheckout(folder, checkout{
		Commit: from.Hash, Time: from.Time, Subject: from.Subject, Branch: from.Branch, Tag: from.Tag,
		Project: sourceLabel(&r.Config), Addresses: addresses, Seal: public,
	})
	if err != nil {
		return step.Outcome{}, fmt.Errorf("handing the checkout on: %w", err)
	}
	return step.Outcome{Report: report{}.of(from)}, nil
}

// runBuild builds what PHASE=clone has left, and leaves the image in IMAGE_DIR. It builds nothing where it may read the
// registry and finds the image of a Git tag's commit.
func (r *runner) runBuild(ctx context.Context, rt *step.Runtime) (outcome step.Outcome, err error) {
	told, from, err := readCheckout(r.CheckoutDir)
	if err != nil {
		return step.Outcome{}, err
	}
	folder, err := openFolder("IMAGE_DIR", r.ImageDir)
	if err != nil {
		return step.Outcome{}, err
	}
	defer folder.Close()
	what, err := newPlan(&r.Config, from, time.Now())
	if err != nil {
		return step.Outcome{}, err
	}
	access, err := r.Registry.Access(rt, side)
	if err != nil {
		return step.Outcome{}, err
	}
	existing, err := r.lookForExisting(ctx, rt, access, what, from)
	if err != nil {
		return step.Outcome{}, err
	}
	key, err := takeSeal(folder, told.Seal)
	if err != nil {
		return step.Outcome{}, err
	}
	building := false // also after a crash: then a RUN may be alive
	defer func() {
		if !building && !errors.Is(err, kaniko.ErrLeft) {
			err = errors.Join(err, key.putBack())
		}
	}()
	if err := removeAll(folder, sealedName, layoutName); err != nil {
		return step.Outcome{}, err
	}
	result := handedImage{Image: what.Image.String()}
	if existing != nil {
		result.Digest = existing.Digest.String()
	} else {
		building = true
		err := r.buildInto(ctx, rt, access, what, from, &result)
		building = false
		if err != nil {
			return step.Outcome{}, err
		}
	}
	rt.Log.Info().Str("digest", result.Digest).Bool("built", result.Built).Msg("the image is left to PHASE=push")
	details := report{
		Image: result.Image, Digest: result.Digest, Built: result.Built, Labels: result.Labels, Warnings: result.Warnings,
	}
	return step.Outcome{Report: details.of(from)}, key.write(result)
}

// buildInto builds, leaves the image in IMAGE_DIR, and tells of it.
func (r *runner) buildInto(
	ctx context.Context, rt *step.Runtime, access registry.Config, what plan, from source, told *handedImage,
) error {
	built, err := r.build(ctx, rt, access, what, from, filepath.Join(r.ImageDir, layoutName))
	if err != nil {
		return err
	}
	defer built.close()
	digest, err := built.image.Digest()
	if err != nil {
		return fmt.Errorf("reading the image that was built: %w", err)
	}
	told.Digest, told.Built, told.Labels, told.Warnings = digest.String(), true, what.Labels, built.warnings
	told.Cache = map[string]string{}
	for _, entry := range built.cached {
		told.Cache[entry.Key] = entry.Digest.String()
	}
	return nil
}

// lookForExisting is findExisting for a build that may read the registry or not. What it cannot find out costs a build,
// and nothing else: PHASE=push asks again.
func (r *runner) lookForExisting(
	ctx context.Context, rt *step.Runtime, access registry.Config, what plan, from source,
) (*registry.Manifest, error) {
	if r.Address == "" {
		return nil, nil
	}
	target, done, err := openTarget(access, r.Image)
	if err != nil {
		return nil, err
	}
	defer done()
	existing, err := findExisting(ctx, target, what, from)
	if err != nil && ctx.Err() == nil && fault.KindOf(err) != fault.Refused {
		rt.Log.Warn().Err(err).Msg("whether the registry has the image already is left to PHASE=push")
		return nil, nil
	}
	return existing, err
}

// runPush pushes what PHASE=build has left. Before anything else it makes sure that the build is over.
func (r *runner) runPush(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	told, from, err := readCheckout(r.CheckoutDir)
	if err != nil {
		return step.Outcome{}, err
	}
	folder, err := openFolder("IMAGE_DIR", r.ImageDir)
	if err != nil {
		return step.Outcome{}, err
	}
	defer folder.Close()
	result, err := readSealed(folder, told.Seal)
	if err != nil {
		return step.Outcome{}, err
	}
	what, err := newPlan(&r.Config, from, time.Now())
	if err != nil {
		return step.Outcome{}, err
	}
	if result.Image != what.Image.String() {
		return step.Outcome{}, step.Problem("IMAGE is %q here, and was %q for PHASE=build", what.Image, result.Image)
	}
	target, done, err := r.openPinnedTarget(rt, told)
	if err != nil {
		return step.Outcome{}, err
	}
	defer done()
	if err := target.CheckPush(ctx); err != nil {
		return step.Outcome{}, err
	}
	existing, err := findExisting(ctx, target, what, from)
	if err != nil {
		return step.Outcome{}, err
	}
	if existing != nil {
		rt.Log.Info().Str("digest", existing.Digest.String()).Str("tag", what.CommitTag).
			Msg("the image of this very commit is there: it is tagged, and no other is pushed")
		return r.publish(ctx, rt, target, what, from, *existing, report{})
	}
	image, err := openHanded(folder, result)
	if err != nil {
		return step.Outcome{}, err
	}
	defer image.Close()
	manifest, err := push(ctx, rt, image, target)
	if err != nil {
		return step.Outcome{}, err
	}
	outcome, err := r.publish(ctx, rt, target, what, from, manifest,
		report{Built: true, Labels: result.Labels, Warnings: result.Warnings})
	if err != nil || r.CacheRepo == "" {
		return outcome, err
	}
	entries, err := openCached(folder, result.Cache)
	if err != nil {
		return step.Outcome{}, err
	}
	r.pushCached(ctx, rt, target, entries)
	for _, entry := range entries {
		_ = entry.Image.Close()
	}
	return outcome, nil
}

// openHanded opens the image that PHASE=build has left.
func openHanded(folder *os.Root, result handedImage) (*kaniko.Image, error) {
	if !result.Built {
		return nil, fault.WithHint(fault.At(side, fault.New(fault.NotFound,
			"pushing: the image of this very commit was there when PHASE=build looked, as %s, and is gone", result.Digest)),
			"run the phases again")
	}
	digest, err := v1.NewHash(result.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading the digest that PHASE=build has left: %w", err)
	}
	return kaniko.OpenLayout(filepath.Join(folder.Name(), layoutName), digest)
}
