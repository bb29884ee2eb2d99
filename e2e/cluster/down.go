package cluster

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"dockline/e2e/leftover"
)

// started are the programs that a cluster consists of, as they are started.
var started = []string{
	"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet",
	"pipelines-webhook", "pipelines-controller", "triggers-interceptors", "triggers-webhook", "triggers-controller",
}

// Down takes a cluster down without a trace, however far it has come up. Without one it does nothing.
func (c Cluster) Down(ctx context.Context) error {
	if _, err := os.Stat(c.Dir); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if c.process("kube-apiserver") != 0 {
		c.removePods(ctx)
	}
	if c.process("containerd") != 0 {
		c.killContainers(ctx)
	}
	for _, name := range slices.Backward(started) {
		c.stop(name, syscall.SIGKILL) // the API server would otherwise wait for those who watch
	}
	for _, pid := range leftover.Processes(c.Dir + "/") { // what watches over a container that would not end
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := leftover.Unmount(c.Dir); err != nil {
		return err
	}
	removeGroups()
	c.removeTraces()
	return os.RemoveAll(c.Dir)
}

// removePods has the node end its pods. Webhooks would be asked for every change, so they go first.
func (c Cluster) removePods(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 40*time.Second)
	defer cancel()
	_, _ = c.Kubectl(ctx, "delete", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "--all", "--request-timeout=10s")
	for _, name := range []string{"triggers-controller", "pipelines-controller", "kube-controller-manager"} {
		c.stop(name, syscall.SIGKILL) // nobody makes new ones
	}
	_, _ = c.Kubectl(ctx, "delete", "pods", "--all-namespaces", "--all", "--grace-period=1", "--timeout=30s")
}

func (c Cluster) killContainers(ctx context.Context) {
	tasks, _ := c.ctr(ctx, "tasks", "list", "--quiet")
	for task := range strings.FieldsSeq(tasks) {
		_, _ = c.ctr(ctx, "tasks", "kill", "--signal", "KILL", task)
	}
}

// removeGroups removes the control groups of the pods (cgroup v1 and v2): the kubelet puts them at the top.
func removeGroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		groups, _ := filepath.Glob(pattern)
		for _, group := range groups {
			leftover.Remove(group)
		}
	}
}

// Some things are kept outside of the folders that programs are given, whatever their options.
// A folder may be another program's, and what is in it ours.
var elsewhere = []string{
	"/run/containerd", "/run/containerd/runc", "/run/containerd/runc/k8s.io", "/opt/containerd", kubeletDir, "/var/log/containers",
}

const kubeletDir = "/var/lib/kubelet"

// noteTraces writes down which of them are not there yet.
func (c Cluster) noteTraces() error {
	return os.WriteFile(c.in("absent"), []byte(strings.Join(leftover.Absent(elsewhere), "\n")), 0o600)
}

// removeTraces removes what programs have put there: files that are this cluster's own, and the folders that were not
// there before, as far as they are empty.
func (c Cluster) removeTraces() {
	logs, _ := filepath.Glob("/var/log/containers/*")
	for _, log := range logs {
		if to, err := os.Readlink(log); err == nil && strings.HasPrefix(to, c.Dir+"/") {
			_ = os.Remove(log)
		}
	}
	// Each container's watcher was reached by a socket, and had no time to remove it.
	watchers, _ := filepath.Glob(c.in("containerd", "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	for _, watcher := range watchers {
		if address, err := os.ReadFile(watcher); err == nil {
			_ = os.Remove(strings.TrimPrefix(string(address), "unix://"))
		}
	}
	text, _ := os.ReadFile(c.in("absent"))
	for path := range strings.FieldsSeq(string(text)) {
		if path == kubeletDir {
			_ = os.Remove(kubeletDir + "/device-plugins/kubelet.sock")
		}
		leftover.Remove(path)
	}
}
