package clonebuildpush

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
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

	phaseIndex = "index" // apart from them: see join.go
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
	err = errors.Join(removeAll(folder, checkoutName, sourceName), removeAll(images, sealName, sealedName), removeLayouts(images))
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
		Project: sourceLabel(&r.Config), Signed: r.GitVerify, Signer: from.Signer, Addresses: addresses, Seal: public,
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
	if err := r.checkVerified(told); err != nil {
		return step.Outcome{}, err
	}
	folder, err := openFolder("IMAGE_DIR", r.ImageDir)
	if err != nil {
		return step.Outcome{}, err
	}
	defer folder.Close()
	if err := removeAll(folder, sealedName); err != nil { // whatever keeps this run from leaving another one
		return step.Outcome{}, err
	}
	what, err := newPlan(&r.Config, from, time.Now())
	if err != nil {
		return step.Outcome{}, err
	}
	access, err := r.Registry.Access(rt, side)
	if err != nil {
		return step.Outcome{}, err
	}
	prepare := sync.OnceValues(func() (*prepared, error) { return r.prepare(ctx, rt, access, what, from) })
	existing, err := r.lookForExisting(ctx, rt, access, what, from, r.keyOf(prepare, &what))
	if err != nil {
		return step.Outcome{}, err
	}
	var ready *prepared
	if existing == nil {
		if ready, err = prepare(); err != nil {
			return step.Outcome{}, err
		}
		what.Key = ready.key
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
	if err := removeLayouts(folder); err != nil {
		return step.Outcome{}, err
	}
	result := handedImage{Image: what.Image.String(), Reuse: r.Reuse, Key: what.Key}
	if existing != nil {
		existing.tell(rt, what)
		result.Digest, result.Reused = existing.Digest.String(), existing.why
	} else {
		building = true
		err := r.buildInto(ctx, rt, what, ready, &result)
		building = false
		if err != nil {
			return step.Outcome{}, err
		}
	}
	rt.Log.Info().Str("digest", result.Digest).Bool("built", result.Built).Msg("the image is left to PHASE=push")
	details := report{
		Image: result.Image, Digest: result.Digest, Built: result.Built, Reused: result.Reused, Key: result.Key,
		Labels: result.Labels, Warnings: result.Warnings,
	}
	return step.Outcome{Report: details.of(from)}, key.write(result)
}

// buildInto builds, leaves the image in IMAGE_DIR, and tells of it.
func (r *runner) buildInto(
	ctx context.Context, rt *step.Runtime, what plan, ready *prepared, told *handedImage,
) error {
	layout := filepath.Join(r.ImageDir, layoutName)
	built, err := r.build(ctx, rt, what, ready, layout)
	if err != nil {
		return err
	}
	defer built.close()
	digest, err := built.image.Digest()
	if err != nil {
		return fmt.Errorf("reading the image that was built: %w", err)
	}
	if ready.index {
		for i, one := range built.platforms {
			child, err := one.Digest()
			if err != nil {
				return fmt.Errorf("reading the image that was built: %w", err)
			}
			told.Children = append(told.Children, handedChild{
				Platform: one.platform, Digest: child.String(), Layout: filepath.Base(layoutOf(layout, ready, i)),
			})
		}
		told.Annotations = ready.annotations()
	}
	if told.Made, err = made(ready, built); err != nil {
		return err
	}
	told.Digest, told.Built, told.Labels, told.Warnings = digest.String(), true, ready.requests[0].Labels, ready.warnings
	for i, one := range built.platforms {
		image, ok := one.Image.(*kaniko.Image)
		if !ok {
			continue
		}
		for _, entry := range image.Cached {
			told.Cache = append(told.Cache, handedLayer{
				Key: entry.Key, Digest: entry.Digest.String(), Layout: filepath.Base(layoutOf(layout, ready, i)),
			})
		}
	}
	return nil
}

// lookForExisting is findExisting for a build that may read the registry or not. What it cannot find out costs a build,
// and nothing else: PHASE=push asks again.
func (r *runner) lookForExisting(
	ctx context.Context, rt *step.Runtime, access registry.Config, what plan, from source, key func() (string, error),
) (*found, error) {
	if r.Address == "" {
		return nil, nil
	}
	target, done, err := openTarget(access, r.Image)
	if err != nil {
		return nil, err
	}
	defer done()
	existing, err := r.findExisting(ctx, rt, target, what, from, key)
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
	if err := r.checkVerified(told); err != nil {
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
	if (r.Reuse != "") != (result.Reuse != "") {
		return step.Outcome{}, step.Problem("REUSE is %q here, and was %q for PHASE=build", r.Reuse, result.Reuse)
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
	what.Key = result.Key
	var key func() (string, error)
	if r.Reuse != "" {
		key = func() (string, error) { return result.Key, nil }
	}
	existing, err := r.findExisting(ctx, rt, target, what, from, key)
	if err != nil {
		return step.Outcome{}, err
	}
	if existing != nil {
		if existing.why == reusedCommit {
			what.Key = "" // which is that of what was built beside it
		}
		existing.tell(rt, what)
		return r.publish(ctx, rt, target, what, from, existing.Manifest, existing.report())
	}
	handed, err := openHanded(folder, result, r.platforms()[0])
	if err != nil {
		return step.Outcome{}, err
	}
	defer handed.close()
	manifest, err := push(ctx, rt, handed.image, target)
	if err != nil {
		return step.Outcome{}, err
	}
	if err := r.attach(ctx, rt, target, what, from, manifest, handed, result.Made); err != nil {
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

// openHanded opens the image that PHASE=build has left: an index, or the image of that platform.
func openHanded(folder *os.Root, result handedImage, platform string) (opened built, err error) {
	if !result.Built {
		return built{}, fault.WithHint(fault.At(side, fault.New(fault.NotFound,
			"pushing: the image was there when PHASE=build looked (%s), as %s, and is gone", result.Reused, result.Digest)),
			"run the phases again")
	}
	children := result.Children
	if len(children) == 0 {
		children = []handedChild{{Platform: platform, Digest: result.Digest, Layout: layoutName}}
	}
	var images closers
	defer func() {
		if err != nil {
			images.close()
		}
	}()
	for _, child := range children {
		digest, err := v1.NewHash(child.Digest)
		if err != nil {
			return built{}, fmt.Errorf("reading the digest that PHASE=build has left: %w", err)
		}
		image, err := kaniko.OpenLayout(filepath.Join(folder.Name(), child.Layout), digest)
		if err != nil {
			return built{}, err
		}
		images = append(images, func() { _ = image.Close() })
		opened.platforms = append(opened.platforms, platformImage{child.Platform, image})
	}
	opened.image, opened.close = opened.platforms[0].Image, images.close
	if len(result.Children) == 0 {
		return opened, nil
	}
	index, err := indexOf(opened.platforms, result.Annotations)
	if err != nil {
		return built{}, err
	}
	if digest, err := index.Digest(); err != nil || digest.String() != result.Digest {
		return built{}, fault.New(fault.Unexpected,
			"making the index anew: it is %s, and was %s for PHASE=build: %w", digest, result.Digest, err)
	}
	opened.image = index
	return opened, nil
}

// removeLayouts removes the images that an earlier run has left.
func removeLayouts(folder *os.Root) error {
	entries, err := fs.ReadDir(folder.FS(), ".")
	if err != nil {
		return fmt.Errorf("looking for what an earlier run left: %w", err)
	}
	names := []string{layoutName}
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), layoutName+"-") {
			names = append(names, entry.Name())
		}
	}
	return removeAll(folder, names...)
}
