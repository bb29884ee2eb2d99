package clonebuildpush

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"

	"dockline/pkg/dockerfile"
	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
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
	Images       []string // that may be pulled
	BaseBytes    int64    // of the layers of the largest of them
	Pull         *puller
	Cache        *kaniko.Cache // nil for none
	Layout       string        // folder to leave the image in, "" for one that goes when the image is closed
	ReadOnly     []string      // folders that no RUN must be able to change

	Executor        string // another program that builds
	AllowPrivileged bool
	Runtime         *step.Runtime
}

// prepare reads the Dockerfile, and refuses what would not be built as it says.
func (r *runner) prepare(rt *step.Runtime, what plan, from source) (request, []string, error) {
	contextDir, err := inside(from.Dir, r.ContextDir)
	if err != nil {
		return request{}, nil, err
	}
	text, err := dockerfile.Read(contextDir, r.Dockerfile)
	if err != nil {
		return request{}, nil, err
	}
	args, err := pairs(r.BuildArgs)
	if err != nil {
		return request{}, nil, step.Problem("BUILD_ARGS: %w", err)
	}
	secrets := map[string][]byte{}
	for name, value := range r.BuildSecrets {
		secrets[name] = []byte(value.Reveal())
	}
	mounts, err := r.builder.Mounts()
	if err != nil {
		return request{}, nil, err
	}
	checked, err := dockerfile.Check(text, dockerfile.Options{
		Name: r.Dockerfile, ContextDir: contextDir, BuildArgs: args, Target: r.BuildTarget, Platform: r.Platform,
		Secrets: slices.Collect(maps.Keys(secrets)), KanikoDir: rt.Getenv("KANIKO_DIR"), Mounts: mounts,
		Kaniko: r.KanikoExecutor != "",
	})
	if err != nil {
		return request{}, nil, err
	}
	for _, warning := range checked.Warnings {
		rt.Log.Warn().Msg(warning)
	}
	ignore, err := readIgnore(contextDir, r.Dockerfile)
	if err != nil {
		return request{}, nil, err
	}
	out := request{
		ContextDir: contextDir, Dockerfile: checked.Source, Ignore: ignore, BuildArgs: args, Target: r.BuildTarget,
		Platform: r.Platform, Labels: what.Labels, Annotations: what.Annotations, MediaTypes: r.MediaTypes, Created: what.Created, Reproducible: r.Reproducible,
		Secrets: secrets, Images: checked.Images, Name: filepath.Base(r.Dockerfile),
		Executor: r.KanikoExecutor, AllowPrivileged: r.AllowPrivileged, Runtime: rt,
	}
	// A clone has none left, and Kaniko compiles the patterns anew for each file: seconds, for 100,000 files.
	if !r.KeepGitDir && r.SourceDir != "" {
		out.Exclude = []string{"**/.git"}
	}
	return out, checked.Warnings, nil
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
