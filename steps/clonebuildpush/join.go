package clonebuildpush

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"unicode"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// mostPlatforms is far above what anyone builds for.
const mostPlatforms = 64

// child is an image of one platform that is to be joined with others.
type child struct {
	name     image.Image
	digest   string // that it was given by; "" for what the version stands for
	manifest registry.Manifest
	facts    registry.Facts
}

// validateIndex returns all problems with what belongs to PHASE=index.
func (c *Config) validateIndex() error {
	var problems []error
	problem := func(format string, args ...any) { problems = append(problems, step.Problem(format, args...)) }
	if c.PlatformImages == "" {
		problem("PLATFORM_IMAGES is missing: PHASE=index joins them")
	} else if _, err := readChildren(c.PlatformImages); err != nil {
		problem("PLATFORM_IMAGES: %w", err)
	}
	for variable, set := range map[string]bool{
		"CHECKOUT_DIR": c.CheckoutDir != "", "IMAGE_DIR": c.ImageDir != "", "GIT_PASSWORD": c.GitPassword != "",
		"GIT_SSH_KEY": c.GitSSHKey != "", "BUILD_SECRET_…": len(c.BuildSecrets) > 0, "PLATFORM": c.Platform != "",
		"PLATFORMS": len(c.Platforms) > 0, "PROVENANCE": c.Provenance, "SBOM": c.SBOM, "RECORD_KEY": c.Records.Key != "",
	} {
		if set {
			problem("%s is set, and PHASE=index has no use for it", variable)
		}
	}
	slices.SortFunc(problems, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	return errors.Join(problems...)
}

// readChildren reads a list of CODE/NAME:VERSION@sha256:…, where one of version and digest may be missing.
func readChildren(list string) ([]child, error) {
	var all []child
	for _, entry := range strings.FieldsFunc(list, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		name, digest, exact := strings.Cut(entry, "@")
		if exact {
			if _, err := v1.NewHash(digest); err != nil {
				// What stands there may be a password: it is not repeated.
				return nil, fault.New(fault.Configuration, "an entry has an \"@\", and no digest (sha256:…) behind it")
			}
		}
		parsed, err := image.ParseName(name)
		if err != nil {
			return nil, err
		}
		if parsed.Version == "" && !exact {
			return nil, fault.New(fault.Configuration, "%q has neither a version nor a digest", name)
		}
		all = append(all, child{name: parsed, digest: digest})
	}
	if len(all) == 0 || len(all) > mostPlatforms {
		return nil, fault.New(fault.Configuration, "it names %d images: 1 to %d are wanted", len(all), mostPlatforms)
	}
	return all, nil
}

// runIndex joins images of one platform each to an index, which gets the names that a build would give to its image.
// When every entry is one index already, because runs for a Git tag have found the index of its commit, that is tagged.
func (r *runner) runIndex(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	children, err := readChildren(r.PlatformImages)
	if err != nil {
		return step.Outcome{}, err
	}
	access, err := r.Registry.Access(rt, side)
	if err != nil {
		return step.Outcome{}, err
	}
	access.Writes = true
	opened, err := registry.Open(access)
	if err != nil {
		return step.Outcome{}, fault.As(fault.Configuration, err)
	}
	defer opened.Close()
	name, err := image.ParseName(r.Image)
	if err != nil {
		return step.Outcome{}, err
	}
	target := opened.Repository(name.Name)
	if err := target.CheckPush(ctx); err != nil {
		return step.Outcome{}, err
	}
	for i := range children {
		if err := children[i].read(ctx, opened); err != nil {
			return step.Outcome{}, err
		}
	}
	from := source{Branch: r.GitBranch, Tag: r.GitTag}
	if from.Hash, err = r.commitOf(rt, children); err != nil {
		return step.Outcome{}, err
	}
	what, err := newPlan(&r.Config, from, children[0].facts.Created)
	if err != nil {
		return step.Outcome{}, err
	}
	index, err := joined(children)
	if err != nil {
		return step.Outcome{}, err
	}
	if !what.Overwrite {
		current, present, err := target.Lookup(ctx, what.Image.Version)
		if err != nil {
			return step.Outcome{}, err
		}
		if present && current.Digest != index.Digest {
			return step.Outcome{}, taken(target, what, current, &index)
		}
	}
	if err := r.bring(ctx, rt, opened, children, target); err != nil {
		return step.Outcome{}, err
	}
	if err := target.Put(ctx, index, ""); err != nil {
		return step.Outcome{}, err
	}
	var has []string
	for _, one := range children {
		has = append(has, one.facts.Platforms...)
	}
	rt.Log.Info().Str("digest", index.Digest.String()).Strs("platforms", slices.Compact(has)).Msg("wrote the index by its digest")
	return r.publish(ctx, rt, target, what, from, index, report{Labels: annotationsOf(children)})
}

// read finds out what the registry has of it.
func (c *child) read(ctx context.Context, in *registry.Registry) error {
	repository := in.Repository(c.name.Name)
	var err error
	if c.manifest, err = repository.Resolve(ctx, cmp.Or(c.digest, c.name.Version)); err != nil {
		return err
	}
	if c.facts, err = repository.Inspect(ctx, c.manifest); err != nil {
		return err
	}
	if len(c.facts.Platforms) == 0 {
		return fault.At(side, fault.New(fault.Refused, "joining %q: it says nothing of its platform, so that it is no image",
			repository.Reference(c.manifest.Digest.String())))
	}
	return nil
}

// commitOf returns the commit that all of the images were built from: one of another commit was taken by mistake. Those
// that say to be built from the same sources have been reused, and belong to the commit that GIT_REVISION names.
func (r *runner) commitOf(rt *step.Runtime, children []child) (string, error) {
	wanted := children[0].facts.Revision()
	if git.IsFullHash(r.GitRevision) {
		wanted = r.GitRevision
	}
	sources := children[0].facts.Labels[labelSources]
	for _, one := range children {
		told := one.facts.Revision()
		if told == wanted {
			continue
		}
		if sources != "" && one.facts.Labels[labelSources] == sources && one.facts.Labels[labelKey] != "" {
			rt.Log.Info().Str("image", one.name.String()).Str("built_from", told).Msg("the image was reused for this commit")
			continue
		}
		return "", fault.WithHint(fault.At(side, fault.New(fault.Refused,
			"joining %q: it says that it was built from %q, and %q is joined", one.name.String()+"@"+one.manifest.Digest.String(), told, wanted)),
			"join what one pipeline has built, by the digests that its runs hand on")
	}
	return wanted, nil
}

// joined makes the index of the images. It is the same, byte for byte, for the same images in whatever order.
func joined(children []child) (registry.Manifest, error) {
	if whole := children[0].manifest; whole.MediaType.IsIndex() {
		for _, one := range children {
			if one.manifest.Digest != whole.Digest {
				return registry.Manifest{}, fault.At(side, fault.New(fault.Refused,
					"joining %q: it is an index already, and the others are not the same one", children[0].name))
			}
		}
		return whole, nil
	}
	index := v1.IndexManifest{
		SchemaVersion: 2, MediaType: types.OCIImageIndex, Annotations: annotationsOf(children), Manifests: []v1.Descriptor{},
	}
	seen := map[string]image.Image{}
	for _, one := range children {
		if one.manifest.MediaType.IsIndex() {
			return registry.Manifest{}, fault.At(side, fault.New(fault.Refused,
				"joining %q: it is an index already, and images of one platform each are wanted", one.name))
		}
		platform, err := v1.ParsePlatform(one.facts.Platforms[0])
		if err != nil {
			return registry.Manifest{}, fault.At(side, fault.New(fault.Refused, "joining %q: %w", one.name, err))
		}
		key := one.facts.Platforms[0]
		if spec, err := platforms.Parse(key); err == nil {
			key = platforms.Format(spec)
		}
		if other, twice := seen[key]; twice {
			return registry.Manifest{}, fault.WithHint(fault.At(side, fault.New(fault.Refused,
				"joining %q and %q: both are for %s", other, one.name, key)), "build each on a machine of its own kind, or with PLATFORM")
		}
		seen[key] = one.name
		index.Manifests = append(index.Manifests, v1.Descriptor{
			MediaType: one.manifest.MediaType, Size: int64(len(one.manifest.Raw)), Digest: one.manifest.Digest, Platform: platform,
		})
	}
	slices.SortFunc(index.Manifests, func(a, b v1.Descriptor) int { return cmp.Compare(a.Platform.String(), b.Platform.String()) })
	raw, err := json.Marshal(index)
	if err != nil {
		return registry.Manifest{}, err
	}
	digest, _, err := v1.SHA256(strings.NewReader(string(raw)))
	return registry.Manifest{MediaType: types.OCIImageIndex, Digest: digest, Raw: raw}, err
}

// annotationsOf are what all of the images say of themselves.
func annotationsOf(children []child) map[string]string {
	common := annotations(children[0].facts.Labels)
	for _, one := range children {
		for label, value := range common {
			if one.facts.Labels[label] != value {
				delete(common, label)
			}
		}
	}
	return common
}

// bring copies into the target's repository what is in another one, with all that is attached to it.
func (r *runner) bring(
	ctx context.Context, rt *step.Runtime, from *registry.Registry, children []child, target *registry.Repository,
) error {
	copier := new(registry.Copier)
	for _, one := range children {
		repository := from.Repository(one.name.Name)
		if repository.Same(target) {
			continue
		}
		copied, err := copier.Copy(ctx, registry.Job{From: repository, Root: one.manifest, To: target, Attachments: true})
		if err != nil {
			return err
		}
		rt.Log.Info().Str("from", repository.Reference(one.manifest.Digest.String())).Int("mounted", copied.Mounted).
			Int64("bytes", copied.Bytes).Msg("copied the image of one platform")
	}
	return nil
}
