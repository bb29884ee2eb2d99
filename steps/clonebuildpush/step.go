// Package clonebuildpush is the step that makes an image: it clones one commit, builds its Dockerfile without letting
// the build see a credential, and pushes the image to the testing registry.
package clonebuildpush

import (
	"context"
	_ "embed"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/steps/recording"
)

//go:embed config.go
var configSource string

// The names of the results.
const (
	resultURL    = "IMAGE_URL"
	resultDigest = "IMAGE_DIGEST"
	resultCommit = "COMMIT"
	resultImage  = "BUILT_IMAGE" // CODE/NAME:VERSION, which the steps that follow take as IMAGE
)

// side names the registry in errors.
const side = "registry"

// runner is the step: its configuration, and who builds.
type runner struct {
	Config
	builder builder
	root    string // "/", except in tests, which must not remove this machine's credentials
}

// builder makes an image from a work tree, in a process that has no credentials.
type builder interface {
	// Ready says whether a build may take place here at all: in our image or sandbox, not in a privileged container.
	Ready(allowPrivileged bool) error
	// Runs says whether a RUN can be carried out for a platform.
	Runs(platform string) (bool, error)
	// Mounts are the paths at which something is mounted, which is no part of the image.
	Mounts() ([]string, error)
	// Build builds. When it returns, no process of the build is left. The image is to be closed after the push.
	Build(ctx context.Context, what request) (image v1.Image, closeImage func(), err error)
}

// program describes the step with a given builder, in a container with that root directory.
func program(b builder, root string) step.Program {
	return step.Program{
		Name:    "clone-build-push",
		Summary: "clones a Git revision, builds its Dockerfile and pushes the image to the testing registry",
		Step:    &runner{builder: b, root: root},
		Source:  configSource,
		Shared:  []string{recording.Source},
		Results: []string{resultURL, resultDigest, resultCommit, resultImage},
	}
}

// report is what REPORT_FILE tells beside the results; a phase tells what it knows.
type report struct {
	Image    string            `json:"image,omitempty"`
	Digest   string            `json:"digest,omitempty"`
	Tags     []string          `json:"tags,omitempty"`
	Commit   string            `json:"commit,omitempty"`
	Branch   string            `json:"branch,omitempty"`
	Tag      string            `json:"tag,omitempty"`
	Signer   string            `json:"signer,omitempty"`   // whose signature GIT_VERIFY asked for
	Built    bool              `json:"built"`              // false when an image was there and was only tagged
	Reused   string            `json:"reused,omitempty"`   // why it was: "commit", "unchanged" or "version"
	BuiltOf  string            `json:"built_of,omitempty"` // the commit that a reused image says it was built from
	Key      string            `json:"build_key,omitempty"`
	Labels   map[string]string `json:"labels,omitempty"`
	Warnings []string          `json:"warnings,omitempty"` // of the Dockerfile
}

// of adds what is known of the commit.
func (r report) of(from source) report {
	r.Commit, r.Branch, r.Tag, r.Signer = from.Hash, from.Branch, from.Tag, from.Signer
	return r
}

// Run does the phase that is asked for, or all of them.
func (r *runner) Run(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	switch r.Phase {
	case phaseClone:
		return r.runClone(ctx, rt)
	case phaseBuild:
		return r.runBuild(ctx, rt)
	case phasePush:
		return r.runPush(ctx, rt)
	case phaseIndex:
		return r.runIndex(ctx, rt)
	}
	return r.runAll(ctx, rt)
}

// runAll clones, builds and pushes. The registry is asked meanwhile whether it lets the image in, so that a wrong password
// does not cost a build.
func (r *runner) runAll(ctx context.Context, rt *step.Runtime) (step.Outcome, error) {
	access, err := r.Registry.Access(rt, side)
	if err != nil {
		return step.Outcome{}, err
	}
	pinned := newPins()
	access.Dial = pinned.Dial
	target, done, err := openTarget(access, r.Image)
	if err != nil {
		return step.Outcome{}, err
	}
	defer done()
	from, cleanUp, err := r.fetchForPush(ctx, rt, target)
	if err != nil {
		return step.Outcome{}, err
	}
	defer cleanUp()
	what, err := newPlan(&r.Config, from, time.Now())
	if err != nil {
		return step.Outcome{}, err
	}
	prepare := sync.OnceValues(func() (*prepared, error) { return r.prepare(ctx, rt, access, what, from) })
	existing, err := r.findExisting(ctx, rt, target, what, from, r.keyOf(prepare, &what))
	if err != nil {
		return step.Outcome{}, err
	}
	if existing != nil {
		existing.tell(rt, what)
		return r.publish(ctx, rt, target, what, from, existing.Manifest, existing.report())
	}
	ready, err := prepare()
	if err != nil {
		return step.Outcome{}, err
	}
	pinned.freeze()
	built, err := r.build(ctx, rt, what, ready, "")
	if err != nil {
		return step.Outcome{}, err
	}
	defer built.close()
	told, err := made(ready, built)
	if err != nil {
		return step.Outcome{}, err
	}
	manifest, err := push(ctx, rt, built.image, target)
	if err != nil {
		return step.Outcome{}, err
	}
	if err := r.attach(ctx, rt, target, what, from, manifest, built, told); err != nil {
		return step.Outcome{}, err
	}
	outcome, err := r.publish(ctx, rt, target, what, from, manifest,
		report{Built: true, Labels: ready.requests[0].Labels, Warnings: ready.warnings})
	if err == nil {
		r.pushCached(ctx, rt, target, built.cached)
	}
	return outcome, err
}

// fetchForPush is fetch, while the registry is asked whether the image may be pushed. What fails first ends the other.
func (r *runner) fetchForPush(
	ctx context.Context, rt *step.Runtime, target *registry.Repository,
) (from source, cleanUp func(), err error) {
	both, ctx := errgroup.WithContext(ctx)
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		return target.CheckPush(ctx)
	})
	both.Go(func() (err error) {
		defer fault.Catch(&err)
		from, cleanUp, err = r.fetch(ctx, rt)
		return err
	})
	if err := both.Wait(); err != nil {
		if cleanUp != nil {
			cleanUp()
		}
		return source{}, nil, err
	}
	return from, cleanUp, nil
}

// keyOf returns how to find out the key of a build, which is planned to be a tag then; nil where none is asked for.
func (r *runner) keyOf(prepare func() (*prepared, error), what *plan) func() (string, error) {
	if r.Reuse == "" {
		return nil
	}
	return func() (string, error) {
		ready, err := prepare()
		if err != nil {
			return "", err
		}
		what.Key = ready.key
		return ready.key, nil
	}
}

// publish moves the tags, and tells the results.
func (r *runner) publish(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, from source,
	manifest registry.Manifest, details report,
) (step.Outcome, error) {
	tags, err := tag(ctx, rt, target, what, manifest)
	if err != nil {
		return step.Outcome{}, err
	}
	details.Image, details.Digest, details.Tags = what.Image.String(), manifest.Digest.String(), tags
	details.Key = what.Key
	details = details.of(from)
	url := target.Reference(what.Image.Version)
	rt.Log.Info().Str("image", url).Str("digest", details.Digest).Strs("tags", tags).Msg("pushed")
	results := []step.Result{
		{Name: resultURL, Value: url}, {Name: resultDigest, Value: details.Digest}, {Name: resultImage, Value: details.Image},
	}
	if from.Hash != "" {
		results = append(results, step.Result{Name: resultCommit, Value: from.Hash})
	}
	return step.Outcome{Results: results, Report: details}, nil
}

// openTarget opens the repository that is pushed to.
func openTarget(access registry.Config, name string) (*registry.Repository, func(), error) {
	parsed, err := image.ParseName(name)
	if err != nil {
		return nil, nil, err
	}
	opened, err := registry.Open(access)
	if err != nil {
		return nil, nil, fault.As(fault.Configuration, err)
	}
	return opened.Repository(parsed.Name), opened.Close, nil
}
