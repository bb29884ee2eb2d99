package clonebuildpush

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/kaniko"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// built is an image that was built here.
type built struct {
	image    v1.Image
	close    func()
	warnings []string // of the Dockerfile
	cached   []kaniko.Cached
}

// build builds what was planned. Access is for base images. The image is left in the folder layout, or where it goes
// with close when that is "".
//
// When it returns, nothing on disk can be trusted any more but what is checked.
func (r *runner) build(
	ctx context.Context, rt *step.Runtime, access registry.Config, what plan, from source, layout string,
) (built, error) {
	request, warnings, err := r.prepare(rt, what, from)
	if err != nil {
		return built{}, err
	}
	access.Retrying = rt.Retrying(baseSide)
	if request.Pull, err = newPuller(ctx, access, request.Images); err != nil {
		return built{}, err
	}
	request.BaseBytes = request.Pull.baseBytes(ctx, request.Images, request.Platform)
	if request.Cache, err = r.cache(rt, access); err != nil {
		return built{}, err
	}
	if layout != "" {
		request.Layout, request.ReadOnly = layout, []string{r.CheckoutDir}
	}
	if err := r.builder.Ready(r.AllowPrivileged); err != nil {
		return built{}, err
	}
	if err := hideCredentials(rt, r.root, r.SourceDir, r.AllowReadableCredentials); err != nil {
		return built{}, err
	}
	if r.KanikoExecutor != "" {
		rt.Log.Warn().Str("executor", r.KanikoExecutor).
			Msg("another executor builds: the pre-flight does not know what it builds otherwise than the Dockerfile says")
	}
	defer rt.Section("build", "Building "+what.Image.String())()
	image, closeImage, err := r.builder.Build(ctx, request)
	if err != nil {
		return built{}, err
	}
	out := built{image: image, close: closeImage, warnings: warnings}
	if made, ok := image.(*kaniko.Image); ok {
		out.cached = made.Cached
	}
	return out, nil
}
