package clonebuildpush

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/provenance"
	"dockline/pkg/record"
	"dockline/pkg/registry"
	"dockline/pkg/sbom"
	"dockline/pkg/step"
)

// making is what is known of a build beside the image: what PROVENANCE and SBOM tell.
type making struct {
	BuildArgs map[string]string `json:"buildArgs,omitempty"`
	Images    []pulled          `json:"images,omitempty"`
	Layers    []string          `json:"layers,omitempty"` // digests of those that were pulled
	Started   time.Time         `json:"started"`
	Finished  time.Time         `json:"finished"`
}

// made is what is known of a build that is done.
func made(ready *prepared, of built) (*making, error) {
	told := &making{
		BuildArgs: ready.requests[0].BuildArgs, Images: ready.images, Started: of.started, Finished: of.finished,
	}
	for _, one := range of.platforms {
		manifest, err := one.Manifest()
		if err != nil {
			return nil, fmt.Errorf("reading the image that was built: %w", err)
		}
		for _, layer := range manifest.Layers {
			if ready.requests[0].Pull.served(layer.Digest) {
				told.Layers = append(told.Layers, layer.Digest.String())
			}
		}
	}
	return told, nil
}

// attach attaches to an image that was built what is asked for. It is called when the image is there, and before a tag
// shows it: what a tag leads to has what belongs to it.
func (r *runner) attach(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, from source,
	manifest registry.Manifest, of built, told *making,
) error {
	if r.Provenance {
		subjects := []record.Subject{{Name: what.Image.Name, Digest: manifest.Digest}}
		if manifest.MediaType.IsIndex() {
			for _, child := range manifest.Children() {
				subjects = append(subjects, record.Subject{Name: what.Image.Name, Digest: child.Digest})
			}
		}
		err := r.put(ctx, rt, target, manifest, record.Attestation{
			Subjects: subjects, Type: provenance.Type, Predicate: r.provenance(rt, what, from, told), Time: told.Finished,
		})
		if err != nil {
			return err
		}
	}
	if !r.SBOM {
		return nil
	}
	for _, one := range of.platforms {
		list, subject, err := r.list(ctx, rt, target, what, one, told)
		if err != nil {
			return err
		}
		if err := r.put(ctx, rt, target, subject, *list); err != nil {
			return err
		}
	}
	return nil
}

// put attaches one attestation.
func (r *runner) put(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, image registry.Manifest, what record.Attestation,
) error {
	artifact, err := what.Artifact(image, r.Records.Signer())
	if err != nil {
		return err
	}
	if err := artifact.Upload(ctx, target); err != nil {
		return unattached(err)
	}
	err = artifact.Attach(ctx, target)
	if unlisted, stored := errors.AsType[*registry.UnlistedError](err); stored {
		rt.Log.Warn().Err(unlisted).Msgf("what is attached is in the registry, which cannot tell of it: only %s leads there", artifact.Reference(target))
		return nil
	}
	if err != nil {
		return unattached(err)
	}
	rt.Log.Info().Str("type", what.Type).Bool("signed", r.Records.Signer() != nil).Str("as", artifact.Reference(target)).
		Msgf("attached to %s", image.Digest)
	return nil
}

// unattached says what else there is to do where a registry has no room for what refers to an image.
func unattached(err error) error {
	if kind := fault.KindOf(err); kind == fault.Refused || kind == fault.Unexpected {
		const hint = "this registry may not take what refers to an image: without PROVENANCE and SBOM nothing is attached"
		return &fault.Error{Hint: hint, Err: err}
	}
	return err
}

// provenance says how the image was built. No known secret is in it.
func (r *runner) provenance(rt *step.Runtime, what plan, from source, told *making) provenance.Predicate {
	run := r.Records.Run(rt, "clone-build-push")
	// Both were read by Validate.
	labels, _ := pairs(r.Labels)
	annotations, _ := pairs(r.Annotations)
	args := maps.Clone(told.BuildArgs)
	for _, all := range []map[string]string{args, labels, annotations} {
		for name, value := range all {
			all[name] = rt.Masked(value)
		}
	}
	project := rt.Masked(git.RedactURL(what.Labels[labelSource]))
	dependencies := []provenance.Resource{}
	if from.Hash != "" {
		dependencies = append(dependencies, provenance.Git(project, from.Hash))
	}
	for _, one := range told.Images {
		dependencies = append(dependencies, provenance.Image(one.Name, one.Digest))
	}
	version := map[string]string{"dockline": step.Version()}
	if kaniko := kanikoVersion(); kaniko != "" {
		version["kaniko"] = kaniko
	}
	return provenance.Predicate{
		BuildDefinition: provenance.BuildDefinition{
			BuildType: provenance.BuildType,
			ExternalParameters: provenance.Parameters{
				Source: project, Revision: rt.Masked(r.GitRevision), ContextDir: r.ContextDir, Dockerfile: r.Dockerfile,
				BuildArgs: args, Target: r.BuildTarget, Platforms: r.platforms(), Labels: labels,
				Annotations: annotations, MediaTypes: r.MediaTypes, Reproducible: r.Reproducible,
				Secrets: slices.Sorted(maps.Keys(r.BuildSecrets)), Executor: r.KanikoExecutor,
			},
			InternalParameters:   provenance.Internal{BuildKey: what.Key, Person: run.Person},
			ResolvedDependencies: dependencies,
		},
		RunDetails: provenance.RunDetails{
			Builder: provenance.BuilderID{ID: provenance.Builder, Version: version},
			Metadata: provenance.Metadata{
				InvocationID: run.Pipeline, StartedOn: whole(told.Started), FinishedOn: whole(told.Finished),
			},
		},
	}
}

// whole leaves out what nobody needs to know.
func whole(t time.Time) time.Time { return t.UTC().Truncate(time.Second) }

// list lists what is known of the image of one platform, and returns its manifest.
func (r *runner) list(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, of platformImage, told *making,
) (*record.Attestation, registry.Manifest, error) {
	digest, err := of.Digest()
	if err != nil {
		return nil, registry.Manifest{}, fmt.Errorf("reading the image that was built: %w", err)
	}
	manifest, err := registry.FromImage(of.Image).Manifest(ctx, digest)
	if err != nil {
		return nil, registry.Manifest{}, err
	}
	config, err := of.ConfigFile()
	if err != nil {
		return nil, registry.Manifest{}, fmt.Errorf("reading the image that was built: %w", err)
	}
	layers, err := of.Layers()
	if err != nil {
		return nil, registry.Manifest{}, fmt.Errorf("reading the image that was built: %w", err)
	}
	layers = slices.DeleteFunc(layers, func(layer v1.Layer) bool {
		digest, err := layer.Digest()
		return err == nil && slices.Contains(told.Layers, digest.String())
	})
	defer rt.Waiting(ctx, func() string { return "looking for Go programs in the image" })()
	programs, skipped, err := sbom.Programs(ctx, layers)
	if err != nil {
		return nil, registry.Manifest{}, err
	}
	if len(skipped) > 0 {
		rt.Log.Warn().Strs("files", skipped).Msg("SBOM: these are too large to be looked into")
	}
	labels := maps.Clone(config.Config.Labels)
	for name, value := range labels {
		labels[name] = rt.Masked(value)
	}
	image := sbom.Image{
		Name: target.String(), Tag: what.Image.Version, Digest: digest, Platform: of.platform, Labels: labels,
		Programs: programs, Skipped: skipped, Created: told.Finished, Tool: r.Records.Run(rt, "clone-build-push").Tool,
	}
	for _, one := range told.Images {
		image.Sources = append(image.Sources, sbom.Source{
			Name: one.Name, URL: provenance.ImageURL(one.Name), Digest: one.Digest, Base: one.Base,
		})
	}
	rt.Log.Info().Str("platform", of.platform).Int("programs", len(programs)).Msg("listed what is known of the image")
	return &record.Attestation{
		Subjects: []record.Subject{{Name: what.Image.Name, Digest: digest}}, Type: sbom.Type, Predicate: sbom.List(image),
		Time: told.Finished,
	}, manifest, nil
}
