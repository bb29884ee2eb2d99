package clonebuildpush

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
	"dockline/pkg/step"
)

// Main is all that the program's main function calls.
func Main() {
	kaniko.ChildMain() // does not return in the process that builds
	if err := kaniko.Shield(); err != nil {
		fmt.Fprintln(os.Stderr, "clone-build-push: "+err.Error())
		os.Exit(int(fault.Denied))
	}
	step.Main(Program())
}

// Program describes the step, with Kaniko as its builder.
func Program() step.Program { return program(kanikoBuilder{}, "/") }

// kanikoBuilder builds by pkg/kaniko.
type kanikoBuilder struct{}

// Ready implements builder.
func (kanikoBuilder) Ready(allowPrivileged bool) error { return kaniko.Ready(allowPrivileged) }

// Runs implements builder.
func (kanikoBuilder) Runs(platform string) (bool, error) { return kaniko.Runs(platform) }

// Mounts implements builder.
func (kanikoBuilder) Mounts() ([]string, error) { return kaniko.MountPoints() }

// Build implements builder.
func (kanikoBuilder) Build(ctx context.Context, what request) (v1.Image, func(), error) {
	dir, err := os.MkdirTemp(kaniko.Dir, "dockerfile-")
	if err != nil {
		return nil, nil, fmt.Errorf("making a directory for the Dockerfile: %w", err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, what.Name)
	ignore := string(what.Ignore) + "\n" + strings.Join(what.Exclude, "\n") + "\n"
	if what.Executor != "" {
		ignore = ignored(ignore)
	}
	if err := errors.Join(os.WriteFile(path, what.Dockerfile, 0o600), os.WriteFile(path+".dockerignore", []byte(ignore), 0o600)); err != nil {
		return nil, nil, fmt.Errorf("writing the Dockerfile for the build: %w", err)
	}

	var args []string
	for name, value := range what.BuildArgs {
		args = append(args, name+"="+value)
	}
	slices.Sort(args)
	image, err := kaniko.Build{
		ContextDir: what.ContextDir, Dockerfile: path, BuildArgs: args, Target: what.Target, Platform: what.Platform,
		Labels: what.Labels, Annotations: what.Annotations, MediaTypes: what.MediaTypes, Reproducible: what.Reproducible,
		Created: what.Created, Secrets: what.Secrets, Images: what.Images, BaseBytes: what.BaseBytes,
		BasePlace: what.BasePlace, Puller: what.Pull, Cache: what.Cache, AllowPrivileged: what.AllowPrivileged, Layout: what.Layout, ReadOnly: what.ReadOnly,
		Executor: what.Executor,
		Log:      func(line kaniko.Line) { tell(what.Runtime, line) },
	}.Run(ctx)
	if err != nil {
		return nil, nil, err
	}
	if what.Layout != "" {
		err = image.Share() // PHASE=push may be another user
	}
	return image, func() { _ = image.Close() }, err
}

// ignored has each pattern of a .dockerignore say what it says of a folder for all that is in it, too. Kaniko's own executor
// (v1.27.5) takes "**/.git" to leave out .git itself, and none of its files.
func ignored(patterns string) string {
	var out strings.Builder
	for line := range strings.Lines(patterns) {
		line = strings.TrimSpace(line)
		out.WriteString(line + "\n")
		if line != "" && line != "!" && !strings.HasPrefix(line, "#") {
			out.WriteString(strings.TrimSuffix(line, "/") + "/**\n")
		}
	}
	return out.String()
}

// tell passes a line of the build on. Kaniko's own chatter is for who asks for it.
func tell(rt *step.Runtime, line kaniko.Line) {
	switch line.Level {
	case "debug", "info":
		rt.Log.Debug().Msg(line.Text)
	case "warning":
		rt.Log.Warn().Msg(line.Text)
	case "error":
		rt.Log.Error().Msg(line.Text)
	default:
		rt.Log.Info().Str("from", "RUN").Msg(line.Text)
	}
}
