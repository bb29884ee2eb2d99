package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// kubernetes is the version that kube/go.mod requires: it must be told to the program, which says it to everybody.
const kubernetes = "v1.36.1"

// parts of Kubernetes, all in one program.
var parts = []string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet", "kubectl"}

// programs are those of Tekton: module beside this file → its commands' common path, and their names.
var programs = []struct {
	module, path string
	names        []string
}{
	{"pipelines", "github.com/tektoncd/pipeline/cmd/", []string{"controller", "webhook", "entrypoint", "nop", "workingdirinit"}},
	{"triggers", "github.com/tektoncd/triggers/cmd/", []string{"controller", "webhook", "interceptors", "eventlistenersink"}},
}

// compile compiles all programs. Go itself sees when one is there already, and that it is the one.
func (c Cluster) compile(ctx context.Context, say func(format string, args ...any)) error {
	began := time.Now()
	if err := os.MkdirAll(c.Programs, 0o755); err != nil {
		return err
	}
	dir, err := source(ctx)
	if err != nil {
		return err
	}
	say("compiling Kubernetes and Tekton: the first time takes a quarter of an hour, on two processors")
	if err := c.build(ctx, filepath.Join(dir, "kube"), ".", "kube", "-X k8s.io/component-base/version.gitVersion="+kubernetes); err != nil {
		return err
	}
	for _, part := range parts {
		if err := os.Symlink("kube", filepath.Join(c.Programs, part)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	for _, p := range programs {
		for _, name := range p.names {
			if err := c.build(ctx, filepath.Join(dir, p.module), p.path+name, p.module+"-"+name, ""); err != nil {
				return err
			}
		}
	}
	say("%5.1f s  compiled", time.Since(began).Seconds())
	return nil
}

func (c Cluster) build(ctx context.Context, module, pkg, name, flags string) error {
	command := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags", "-s -w "+flags,
		"-o", filepath.Join(c.Programs, name), pkg) //nolint:gosec // ours
	command.Dir = module
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err := run(command)
	return err
}

// source is the folder of this package.
func source(ctx context.Context) (string, error) {
	dir, err := run(exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "dockline/e2e/cluster"))
	return strings.TrimSpace(dir), err
}

// config is the folder config/ of a Tekton module: what a release's file of objects is made from.
func config(ctx context.Context, module, path string) (string, error) {
	dir, err := source(ctx)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path)
	command.Dir = filepath.Join(dir, module)
	found, err := run(command)
	return filepath.Join(strings.TrimSpace(found), "config"), err
}
