package clonebuildpush

import (
	"context"
	"strings"
	"time"

	"dockline/pkg/kaniko"
	"dockline/pkg/step"
)

// built is an image that was built here.
type built struct {
	image             pushable
	platforms         []platformImage // of an index; else the one
	close             func()
	started, finished time.Time
	cached            []kaniko.Cached // for CACHE_REPO; they go with close
}

// build builds what is ready. The image is left in folders whose paths begin with layout, or where it goes with close
// when that is "".
//
// When it returns, nothing on disk can be trusted any more but what is checked.
func (r *runner) build(
	ctx context.Context, rt *step.Runtime, what plan, ready *prepared, layout string,
) (made built, err error) {
	if err := r.builder.Ready(r.AllowPrivileged); err != nil {
		return built{}, err
	}
	if err := hideCredentials(rt, r.root, r.SourceDir, r.AllowReadableCredentials); err != nil {
		return built{}, err
	}
	var images closers
	defer func() {
		if err != nil {
			images.close()
		}
	}()
	if r.KanikoExecutor != "" {
		rt.Log.Warn().Str("executor", r.KanikoExecutor).
			Msg("another executor builds: the pre-flight does not know what it builds otherwise than the Dockerfile says")
	}
	made.started = time.Now()
	for i, request := range ready.requests {
		var base string
		base, request.BaseBytes = request.Pull.largestBase(ctx, request.Images, request.Platform)
		request.BasePlace = request.Where[base]
		if layout != "" {
			request.Layout, request.ReadOnly = layoutOf(layout, ready, i), []string{r.CheckoutDir}
		}
		title := "Building " + what.Image.String()
		if ready.index {
			title += " for " + request.Platform
		}
		end := rt.Section("build", title)
		image, closeImage, err := r.builder.Build(ctx, request)
		end()
		if err != nil {
			return built{}, err
		}
		images = append(images, closeImage)
		made.platforms = append(made.platforms, platformImage{orOwnPlatform(request.Platform), image})
		if told, ok := image.(*kaniko.Image); ok {
			made.cached = append(made.cached, told.Cached...)
		}
	}
	made.finished = time.Now()
	made.image, made.close = made.platforms[0].Image, images.close
	if ready.index {
		if made.image, err = indexOf(made.platforms, ready.annotations()); err != nil {
			return built{}, err
		}
	}
	return made, nil
}

// layoutOf is the folder for the image of one platform.
func layoutOf(layout string, ready *prepared, number int) string {
	if !ready.index {
		return layout
	}
	return layout + "-" + strings.ReplaceAll(orOwnPlatform(ready.requests[number].Platform), "/", "-")
}

// closers release images.
type closers []func()

func (c closers) close() {
	for _, one := range c {
		one()
	}
}
