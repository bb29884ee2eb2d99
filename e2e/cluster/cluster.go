// Package cluster runs a real Kubernetes with Tekton on this machine, on loopback alone: etcd, the control plane and the
// kubelet from one program, Debian's containerd and runc for the pods, Tekton's controllers beside them. Authentication,
// RBAC, admission, the webhooks and the pods are real.
//
// What differs from a cluster elsewhere: there is one node, all pods are on its network (a policy sees to that, so that
// files need no change), and Tekton's controllers are processes instead of pods, the administrator's. A Service has an
// address, but nothing forwards it. Tekton's webhooks and event listeners cannot be told to listen on loopback alone; all
// else does.
//
// It needs root, cgroups, and the Go module proxy. There can be one such cluster on a machine.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"dockline/e2e/debian"
)

// Cluster is where a cluster's programs and files are. It outlives the program that has brought it up.
type Cluster struct {
	Programs string // folder that keeps the compiled programs; kubectl is one of them
	Dir      string // folder of a running cluster, gone when it is down
}

// At is the cluster of a project: below .build of its root, an absolute path.
func At(root string) Cluster {
	dir := filepath.Join(root, ".build", "cluster")
	return Cluster{Programs: filepath.Join(dir, "bin"), Dir: filepath.Join(dir, "run")}
}

// Kubeconfig is the file by which one is the cluster's administrator.
func (c Cluster) Kubeconfig() string { return c.in("admin.kubeconfig") }

// Up compiles what is missing, and brings the cluster up. What is left of an earlier one is taken down first.
func (c Cluster) Up(ctx context.Context, say func(format string, args ...any)) (err error) {
	if os.Geteuid() != 0 {
		return errors.New("a cluster of one's own needs root")
	}
	if err := debian.Need(ctx, map[string]string{"containerd": "containerd", "ctr": "containerd", "runc": "runc"}); err != nil {
		return err
	}
	if err := c.Compile(ctx, say); err != nil {
		return err
	}
	if err := c.Down(ctx); err != nil {
		return fmt.Errorf("taking down the cluster before: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.Down(context.WithoutCancel(ctx)))
		}
	}()
	began := time.Now()
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return err
	}
	if err := c.noteTraces(); err != nil {
		return err
	}
	for _, part := range []struct {
		name  string
		start func(context.Context) error
	}{
		{"certificates", c.writeKeys},
		{"containerd", c.startContainerd},
		{"the control plane", c.startControlPlane},
		{"the images of pods", c.importImages},
		{"the node", c.startNode},
		{"Tekton", c.startTekton},
	} {
		if err := part.start(ctx); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return fmt.Errorf("bringing up %s: %w%s", part.name, err, c.logs())
		}
		say("%5.1f s  %s", time.Since(began).Seconds(), part.name)
	}
	for _, name := range started {
		if err := c.alive(name); err != nil {
			return fmt.Errorf("%w%s", err, c.logs())
		}
	}
	return nil
}

// Environ is what a program needs in its environment to have the cluster's kubectl, as its administrator.
func (c Cluster) Environ() []string {
	return []string{
		"KUBECONFIG=" + c.Kubeconfig(), "KUBECACHEDIR=" + c.in("kubectl"), "PATH=" + c.Programs + ":" + os.Getenv("PATH"),
	}
}

// Command is a kubectl of the cluster's administrator.
func (c Cluster) Command(ctx context.Context, args ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, filepath.Join(c.Programs, "kubectl"), args...) //nolint:gosec // ours
	command.Env = append(os.Environ(), c.Environ()...)
	return command
}

// Kubectl runs kubectl and returns what it wrote.
func (c Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return run(c.Command(ctx, args...))
}

// apply makes objects.
func (c Cluster) apply(ctx context.Context, objects string) error {
	command := c.Command(ctx, "apply", "--server-side", "--filename=-")
	command.Stdin = strings.NewReader(objects)
	_, err := run(command)
	return err
}

// TrustRegistry has the node believe a registry's certificate (PEM).
func (c Cluster) TrustRegistry(host string, ca []byte) error {
	dir := filepath.Join(c.in("certs.d"), host)
	file := filepath.Join(dir, "ca.pem")
	hosts := fmt.Sprintf("server = %q\n[host.%q]\n  ca = %q\n", "https://"+host, "https://"+host, file)
	return errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(file, ca, 0o644), //nolint:gosec // public
		os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(hosts), 0o644)) //nolint:gosec // public
}

func (c Cluster) in(name ...string) string {
	return filepath.Join(append([]string{c.Dir}, name...)...)
}

// run runs a command and returns its output; an error tells what it wrote.
func run(command *exec.Cmd) (string, error) {
	var out, errs bytes.Buffer
	command.Stdout, command.Stderr = &out, &errs
	if err := command.Run(); err != nil {
		return out.String(), fmt.Errorf("%s: %w: %s", strings.Join(command.Args, " "), err, strings.TrimSpace(errs.String()+out.String()))
	}
	return out.String(), nil
}

// until asks again and again until all is well.
func until(ctx context.Context, limit time.Duration, well func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		err := well(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not within %v: %w", limit, err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}
