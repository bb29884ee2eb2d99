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

// modules are the folders, beside this one, of those that have the programs. Tekton's are of the module that checks our files
// too, so that what both are made of is compiled once. It asks for the versions of Kubernetes' libraries that Kubernetes
// itself is made of, and kube/go.mod for what those need of others as Tekton has it: that is compiled once, then, as well.
const (
	kubeModule   = "kube"
	tektonModule = "../tekton"
)

// tekton are its programs: a folder of their own among the compiled ones → their packages' common path, and their names.
var tekton = []struct {
	folder, path string
	names        []string
}{
	{"pipelines", "github.com/tektoncd/pipeline/cmd/", []string{"controller", "webhook", "entrypoint", "nop", "workingdirinit"}},
	{"triggers", "github.com/tektoncd/triggers/cmd/", []string{"controller", "webhook", "interceptors", "eventlistenersink"}},
}

// program is where one of Tekton's is: of a name such as pipelines-webhook.
func (c Cluster) program(name string) string {
	return filepath.Join(c.Programs, strings.Replace(name, "-", "/", 1))
}

// Compile compiles all programs. Go itself sees when one is there already, and that it is the one.
func (c Cluster) Compile(ctx context.Context, say func(format string, args ...any)) error {
	began := time.Now()
	if err := os.MkdirAll(c.Programs, 0o755); err != nil {
		return err
	}
	say("compiling Kubernetes and Tekton: the first time takes some ten minutes, on two processors")
	for _, t := range tekton {
		var packages []string
		for _, name := range t.names {
			packages = append(packages, t.path+name)
		}
		if err := c.build(ctx, tektonModule, t.folder+"/", "", packages...); err != nil {
			return err
		}
	}
	if err := c.build(ctx, kubeModule, "kube", "-X k8s.io/component-base/version.gitVersion="+kubernetes, "."); err != nil {
		return err
	}
	for _, part := range parts {
		if err := os.Symlink("kube", filepath.Join(c.Programs, part)); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	say("%5.1f s  compiled", time.Since(began).Seconds())
	return nil
}

// build compiles packages of a module into a folder, or one into a file.
func (c Cluster) build(ctx context.Context, module, out, flags string, packages ...string) error {
	dir, err := source(ctx)
	if err != nil {
		return err
	}
	args := append([]string{"build", "-trimpath", "-ldflags", "-s -w " + flags, "-o", c.Programs + "/" + out}, packages...)
	command := exec.CommandContext(ctx, "go", args...) //nolint:gosec // ours
	command.Dir = filepath.Join(dir, module)
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	_, err = run(command)
	return err
}

// source is the folder of this package.
func source(ctx context.Context) (string, error) {
	dir, err := run(exec.CommandContext(ctx, "go", "list", "-f", "{{.Dir}}", "dockline/e2e/cluster"))
	return strings.TrimSpace(dir), err
}

// config is the folder config/ of one of Tekton's modules: what a release's file of objects is made from.
func config(ctx context.Context, path string) (string, error) {
	dir, err := source(ctx)
	if err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", path)
	command.Dir = filepath.Join(dir, tektonModule)
	found, err := run(command)
	return filepath.Join(strings.TrimSpace(found), "config"), err
}
