package cluster

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
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
	for _, pid := range c.rest() { // what watches over a container that would not end
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if err := c.unmount(); err != nil {
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

// unmount takes off what is mounted in the cluster's folder, the innermost first.
func (c Cluster) unmount() error {
	table, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	lines := strings.Split(string(table), "\n")
	for i := len(lines) - 1; i >= 0; i-- {
		fields := strings.Fields(lines[i])
		if len(fields) > 1 && strings.HasPrefix(fields[1], c.Dir+"/") {
			if err := syscall.Unmount(fields[1], syscall.MNT_DETACH); err != nil {
				return fmt.Errorf("unmounting %q: %w", fields[1], err)
			}
		}
	}
	return nil
}

// removeGroups removes the control groups of the pods (cgroup v1 and v2): the kubelet puts them at the top.
func removeGroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods"} {
		groups, _ := filepath.Glob(pattern)
		for _, group := range groups {
			removeFolders(group)
		}
	}
}

// Some things are kept outside of the folders that programs are given, whatever their options.
var elsewhere = []string{"/run/containerd", "/opt/containerd", kubeletDir, "/var/log/containers"}

const kubeletDir = "/var/lib/kubelet"

// noteTraces writes down which of them are not there yet.
func (c Cluster) noteTraces() error {
	var absent []string
	for _, path := range elsewhere {
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			absent = append(absent, path)
		}
	}
	return os.WriteFile(c.in("absent"), []byte(strings.Join(absent, "\n")), 0o600)
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
		removeFolders(path)
	}
}

// removeFolders removes empty folders, the innermost first.
func removeFolders(path string) {
	var folders []string
	_ = filepath.WalkDir(path, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return nil
	})
	for i := len(folders) - 1; i >= 0; i-- {
		_ = os.Remove(folders[i])
	}
}
