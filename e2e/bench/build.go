package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/gitserver"
	"dockline/e2e/sandbox"
	"dockline/pkg/imageroot"
)

// containMode is the argument by which this program runs a sandbox that is prepared, and nothing else.
const containMode = "contain"

// contained is what is run there.
type contained struct {
	Before []string // a command outside of it that comes first; nil for none
	Root   string
	Spec   sandbox.Spec
}

// contain runs what the file tells, and returns the exit status.
func contain(file string) int {
	var what contained
	content, err := os.ReadFile(file) //nolint:gosec // the bench's own
	if err == nil {
		err = json.Unmarshal(content, &what)
	}
	if err == nil && what.Before != nil {
		before := exec.Command(what.Before[0], what.Before[1:]...) //nolint:gosec // likewise
		before.Stdout, before.Stderr = os.Stdout, os.Stderr
		err = before.Run()
	}
	if err == nil {
		var command *exec.Cmd
		if command, err = sandbox.Prepared(what.Root, what.Spec).Command(context.Background()); err == nil {
			command.Stdout, command.Stderr = os.Stdout, os.Stderr
			err = command.Run()
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// site is what builds run on: a Git server, and a registry's files with the base image.
type site struct {
	row      row
	programs map[string]string
	dir      string
	git      *httptest.Server
	registry string // its address, the same in all runs: what is built from is told by it
}

// measureBuild is measure for a row that builds. Every run has a root file system, a registry and a clone of its own.
func measureBuild(ctx context.Context, one row, rounds int, programs map[string]string, dir string) (map[string][]sample, error) {
	defer os.RemoveAll(dir)
	s := &site{row: one, programs: programs, dir: dir}
	if err := s.prepare(ctx); err != nil {
		return nil, err
	}
	defer s.git.Close()
	return rotate(one, rounds, func(with tool) (sample, error) { return s.once(ctx, with) })
}

func (s *site) prepare(ctx context.Context) error {
	files, err := s.row.built()
	if err != nil {
		return err
	}
	repositories := filepath.Join(s.dir, "git")
	if err := os.MkdirAll(repositories, 0o755); err != nil { //nolint:gosec // for a bench
		return err
	}
	if _, err := gitserver.Commit(filepath.Join(repositories, "hello.git"), "main", "To be built", files); err != nil {
		return err
	}
	handler, err := gitserver.Handler(gitserver.Options{Root: repositories})
	if err != nil {
		return err
	}
	base, err := baseImage(ctx)
	if err != nil {
		return err
	}
	held := filepath.Join(s.dir, "held")
	if s.registry, err = freeAddress(); err != nil {
		return err
	}
	filled, err := serveAt(ctx, s.registry, held, nil)
	if err != nil {
		return err
	}
	err = fill(ctx, s.registry, map[string]v1.Image{"deepsky/base:1": base})
	filled.stop()
	if err != nil {
		return err
	}
	s.git = httptest.NewServer(handler)
	if s.row.before.name == "" {
		return nil
	}
	_, err = s.build(ctx, s.row.before, filepath.Join(s.dir, "before"), held)
	return err
}

// baseImage is that of the sample service, and what writes large files.
func baseImage(ctx context.Context) (v1.Image, error) {
	var files []baseimage.File
	for _, name := range []string{"serve", "stamp", "fill"} {
		program, err := baseimage.Program(ctx, "dockline/e2e/baseimage/"+name)
		if err != nil {
			return nil, err
		}
		files = append(files, baseimage.File{Path: "/bin/" + name, Content: program})
	}
	return baseimage.Pack(files...)
}

// once builds once, into a registry that holds what it held at the start.
func (s *site) once(ctx context.Context, with tool) (_ sample, err error) {
	root, held := filepath.Join(s.dir, "run"), filepath.Join(s.dir, "target")
	defer func() { err = errors.Join(err, os.RemoveAll(held)) }()
	if err := os.CopyFS(held, os.DirFS(filepath.Join(s.dir, "held"))); err != nil {
		return sample{}, err
	}
	return s.build(ctx, with, root, held)
}

// build builds once, and looks whether the image is in the registry, whose files are in held.
func (s *site) build(ctx context.Context, with tool, root, held string) (_ sample, err error) {
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	for _, folder := range []string{"root", "clone"} {
		if err := os.MkdirAll(filepath.Join(root, folder), 0o755); err != nil { //nolint:gosec // likewise
			return sample{}, err
		}
	}
	target, err := serveAt(ctx, s.registry, held, nil)
	if err != nil {
		return sample{}, err
	}
	defer target.stop()
	what := s.task(with, root, target.address)
	if _, err := sandbox.New(what.Root, what.Spec); err != nil {
		return sample{}, err
	}
	content, err := json.Marshal(what)
	if err != nil {
		return sample{}, err
	}
	file := filepath.Join(root, "contained.json")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		return sample{}, err
	}
	self, err := os.Executable()
	if err != nil {
		return sample{}, err
	}
	got, err := launch(ctx, []string{self, containMode, file}, []string{"PATH=" + os.Getenv("PATH"), "HOME=" + root})
	if err != nil {
		return sample{}, err
	}
	reference, err := name.ParseReference(target.address+"/"+app, name.Insecure)
	if err != nil {
		return sample{}, err
	}
	_, err = remote.Head(reference, remote.WithContext(ctx))
	return got, err
}

// task is what a tool is to do.
func (s *site) task(with tool, root, registry string) contained {
	what := contained{Root: filepath.Join(root, "root")}
	what.Spec = sandbox.Spec{
		Files: map[string]string{imageroot.Marker: ""}, Programs: map[string]string{},
		Env: []string{"KANIKO_DIR=" + imageroot.Dir, "HOME=/root", "USER=root", "PATH=/bin"},
	}
	url := s.git.URL + "/hello.git"
	if with.program == "clone-build-push" {
		program := imageroot.Dir + "/bin/clone-build-push"
		what.Spec.Programs[program], what.Spec.Args = s.programs[with.program], []string{program}
		what.Spec.Env = append(what.Spec.Env, "GIT_URL="+url, "GIT_REVISION=main", "IMAGE="+app, "REGISTRY="+registry,
			"REGISTRY_INSECURE=true", "BUILD_ARGS=BASE="+registry+"/deepsky/base:1")
		what.Spec.Env = append(what.Spec.Env, with.env...)
		return what
	}
	clone := filepath.Join(root, "clone")
	program := imageroot.Dir + "/executor"
	what.Before = []string{"git", "clone", "--quiet", "--depth", "1", "--branch", "main", url, clone}
	what.Spec.Programs[program] = s.programs[with.program]
	what.Spec.Binds = map[string]string{"/workspace": clone}
	what.Spec.Args = []string{
		program, "--force", "--context=dir:///workspace", "--dockerfile=/workspace/Dockerfile", "--insecure", "--insecure-pull",
		"--destination=" + registry + "/" + app, "--build-arg=BASE=" + registry + "/deepsky/base:1",
	}
	return what
}
