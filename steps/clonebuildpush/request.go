package clonebuildpush

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dockline/pkg/dockerfile"
	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// request is all that a builder needs to know.
type request struct {
	ContextDir   string
	Name         string   // of the Dockerfile, for messages
	Dockerfile   []byte   // the text to build, as the pre-flight left it
	Exclude      []string // patterns, in .dockerignore's syntax, that apply beside the context's own
	Ignore       []byte   // the .dockerignore that belongs to the Dockerfile
	BuildArgs    map[string]string
	Target       string
	Platform     string
	Labels       map[string]string
	Annotations  map[string]string
	MediaTypes   string
	Created      time.Time
	Reproducible bool
	Secrets      map[string][]byte
	Images       []string          // that may be pulled
	Where        map[string]string // where each of them is named: "Dockerfile:1: FROM alpine:3"
	BaseBytes    int64             // of the layers of the largest of them
	BasePlace    string            // where that one is named
	Pull         *puller
	Cache        *kaniko.Cache // nil for none
	Layout       string        // folder to leave the image in, "" for one that goes when the image is closed
	ReadOnly     []string      // folders that no RUN must be able to change

	Executor        string // another program that builds
	AllowPrivileged bool
	Runtime         *step.Runtime
}

// prepared is a build that only has to be done.
type prepared struct {
	requests []request // one for each platform
	index    bool      // whether they are to be an index, be it of one
	warnings []string  // of the Dockerfile
	remotes  []string  // what is added from elsewhere, and may be another one tomorrow
	images   []pulled  // by the build
	key      string    // of all that it is built from; "" unless REUSE asks for it
}

// pulled is an image that a build pulls.
type pulled struct {
	Name   string `json:"name"`           // as the Dockerfile has it
	Digest string `json:"digest"`         // of what that stands for, an index perhaps
	Base   bool   `json:"base,omitempty"` // the image is built on it
}

// annotations are what an index says: what its images say of themselves, and what is asked for.
func (p *prepared) annotations() map[string]string {
	all := annotations(p.requests[0].Labels)
	maps.Copy(all, p.requests[0].Annotations)
	return all
}

// prepare reads the Dockerfile, refuses what would not be built as it says, and finds out what is to be pulled. Access
// is for that.
func (r *runner) prepare(
	ctx context.Context, rt *step.Runtime, access registry.Config, what plan, from source,
) (*prepared, error) {
	ready := &prepared{index: len(r.Platforms) > 0}
	platforms := []string{r.Platform}
	if ready.index {
		platforms = r.platforms()
	}
	var base string
	var images []string
	where := map[string]string{}
	for _, platform := range platforms {
		request, checked, err := r.request(rt, what, from, platform)
		if err != nil {
			return nil, err
		}
		ready.requests = append(ready.requests, request)
		base, ready.remotes = checked.Base, checked.Remotes
		images = append(images, checked.Images...)
		maps.Copy(where, checked.Where)
		ready.warnings = append(ready.warnings, checked.Warnings...)
	}
	slices.Sort(images)
	images = slices.Compact(images)
	slices.Sort(ready.warnings)
	ready.warnings = slices.Compact(ready.warnings)
	for _, warning := range ready.warnings {
		rt.Log.Warn().Msg(warning)
	}
	if err := refusePointers(ctx, ready.requests[0]); err != nil { // the context is the same for all
		return nil, err
	}
	access.Retrying = rt.Retrying(baseSide)
	elsewhere, err := r.mirrors(rt)
	if err != nil {
		return nil, err
	}
	pull, err := newPuller(ctx, access, elsewhere, images, where)
	if err != nil {
		return nil, err
	}
	cache, err := r.cache(rt, access)
	if err != nil {
		return nil, err
	}
	if cache != nil {
		pull.cache = cache.Repository.Name()
	}
	for i := range ready.requests {
		ready.requests[i].Pull, ready.requests[i].Cache = pull, cache
	}
	for _, name := range images {
		digest, err := pull.digest(name)
		if err != nil {
			return nil, err
		}
		ready.images = append(ready.images, pulled{Name: name, Digest: digest, Base: name == base})
	}
	if r.Reuse != "" {
		err = r.setKey(ctx, rt, ready, from)
	}
	return ready, err
}

// request is what a builder is asked for one platform.
func (r *runner) request(rt *step.Runtime, what plan, from source, platform string) (request, dockerfile.Plan, error) {
	contextDir, err := inside(from.Dir, r.ContextDir)
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	text, err := dockerfile.Read(contextDir, r.Dockerfile)
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	args, err := r.buildArgs(from.Dir, contextDir)
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	secrets := map[string][]byte{}
	for name, value := range r.BuildSecrets {
		secrets[name] = []byte(value.Reveal())
	}
	runs := true
	if platform != "" {
		if runs, err = r.builder.Runs(platform); err != nil {
			return request{}, dockerfile.Plan{}, step.Problem("PLATFORM: %w", err)
		}
	}
	mounts, err := r.builder.Mounts()
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	checked, err := dockerfile.Check(text, dockerfile.Options{
		Name: r.Dockerfile, ContextDir: contextDir, BuildArgs: args, Target: r.BuildTarget, Platform: platform,
		Secrets: slices.Collect(maps.Keys(secrets)), NoRun: !runs, KanikoDir: rt.Getenv("KANIKO_DIR"), Mounts: mounts,
		Kaniko: r.KanikoExecutor != "",
	})
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	ignore, err := readIgnore(contextDir, r.Dockerfile)
	if err != nil {
		return request{}, dockerfile.Plan{}, err
	}
	return request{
		ContextDir: contextDir, Dockerfile: checked.Source, Ignore: ignore, Exclude: r.excluded(), BuildArgs: args,
		Target: r.BuildTarget, Platform: platform, Labels: maps.Clone(what.Labels), Annotations: what.Annotations,
		MediaTypes: r.MediaTypes, Created: what.Created, Reproducible: r.Reproducible, Secrets: secrets,
		Images: checked.Images, Where: checked.Where, Name: filepath.Base(r.Dockerfile), Executor: r.KanikoExecutor,
		AllowPrivileged: r.AllowPrivileged, Runtime: rt,
	}, checked, nil
}

// excluded are the patterns that apply beside the context's own. A clone has no .git left, and the patterns are compared
// with each file: seconds, for 100,000 files.
func (r *runner) excluded() []string {
	if r.KeepGitDir || r.SourceDir == "" {
		return nil
	}
	return []string{"**/.git"}
}

// inside resolves a directory of the work tree, which must not lead out of it by a link.
func inside(root, dir string) (string, error) {
	tree, err := os.OpenRoot(root)
	if err != nil {
		return "", fmt.Errorf("opening the work tree: %w", err)
	}
	defer tree.Close()
	info, err := tree.Stat(dir)
	if err != nil {
		return "", fault.New(fault.BuildFailed, "reading the build context: CONTEXT_DIR %q is not there, or leaves the work tree", dir)
	}
	if !info.IsDir() {
		return "", fault.New(fault.BuildFailed, "reading the build context: CONTEXT_DIR %q is no directory", dir)
	}
	return filepath.EvalSymlinks(filepath.Join(root, dir))
}

// readIgnore reads DOCKERFILE.dockerignore, else .dockerignore, as BuildKit does. Neither need be there.
func readIgnore(contextDir, name string) ([]byte, error) {
	for _, candidate := range []string{name + ".dockerignore", ".dockerignore"} {
		if _, err := os.Lstat(filepath.Join(contextDir, candidate)); err != nil {
			continue
		}
		return dockerfile.Read(contextDir, candidate)
	}
	return nil, nil
}
