//go:build e2e

package cluster_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"dockline/e2e/cluster"
)

// mayDo asks the cluster what the accounts may do: what builds, and what GitLab triggers, must not reach production.
func (r *reader) mayDo() {
	r.t.Helper()
	const tags, runs = "image.openshift.io/imagestreamtags", "tekton.dev/pipelineruns"
	for _, row := range []struct {
		account, verb, resource, namespace string // GROUP/RESOURCE
		want                               bool
	}{
		{"dockline-build:retag", "update", tags, "dev", true},
		{"dockline-build:retag", "create", "apps/deployments", "dev", true},
		{"dockline-build:verify", "list", "/pods", "dev", true},
		{"dockline-build:verify", "update", tags, "dev", false},
		{"dockline-build:retag", "update", tags, "prod", false},
		{"dockline-build:clone-build-push", "list", "/pods", "dev", false},
		{"dockline-build:trigger", "create", runs, "dockline-build", true},
		{"dockline-build:trigger", "create", runs, "dockline-release", false},
		{"dockline-build:trigger", "get", "/secrets", "dockline-build", false},
		{"dockline-release:retag", "update", tags, "prod", true},
		{"dockline-release:retag", "update", tags, "dev", false},
		{"dockline-release:verify", "list", "/pods", "prod", true},
		{"dockline-release:verify", "update", tags, "prod", false},
		{"dockline-release:promote", "list", "/pods", "prod", false},
	} {
		group, resource, _ := strings.Cut(row.resource, "/")
		command := r.cluster.Command(r.t.Context(), "create", "--filename=-", "--output=jsonpath={.status.allowed}")
		command.Stdin = strings.NewReader(fmt.Sprintf(`apiVersion: authorization.k8s.io/v1
kind: SubjectAccessReview
spec:
  user: system:serviceaccount:%s
  resourceAttributes: {verb: %s, group: %q, resource: %s, namespace: %s}
`, row.account, row.verb, group, resource, row.namespace))
		if out, err := command.CombinedOutput(); err != nil || string(out) != fmt.Sprint(row.want) {
			r.t.Errorf("may %s %s %s in %s? %s, %v", row.account, row.verb, row.resource, row.namespace, out, err)
		}
	}
}

// hasNoToken wants no token of the cluster in the pods of Tasks.
func (r *reader) hasNoToken(tasks ...string) {
	r.t.Helper()
	for _, task := range tasks {
		volumes, err := r.cluster.Kubectl(r.t.Context(), "get", "pods", "--all-namespaces", "--selector=tekton.dev/pipelineTask="+task,
			"--output=jsonpath={.items[*].spec.volumes[*].name}")
		if err != nil || volumes == "" || strings.Contains(volumes, "kube-api-access") {
			r.t.Errorf("the pods of %s have the volumes %q, %v", task, volumes, err)
		}
	}
}

// fails starts a run that cannot succeed. The README says where one sees why, and that waiting does not tell.
func (r *reader) fails() {
	r.t.Helper()
	file := filepath.Join(r.dir, "tekton", "examples", "build-to-dev.yaml")
	text, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	r.write("no-such-branch.yaml", strings.Replace(string(text), "value: develop", "value: no-such-branch", 1))
	out := r.run("a run that fails", 1, `run=$(kubectl create -f no-such-branch.yaml -o name)
kubectl -n dockline-build wait --for=condition=Succeeded=False --timeout=2m "$run"
if kubectl -n dockline-build wait --for=condition=Succeeded --timeout=2s "$run"; then echo wait tells; fi
kubectl -n dockline-build logs --selector=tekton.dev/pipelineRun="${run##*/}" --container=step-clone --tail=1`)
	last := out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]
	if strings.Contains(out, "wait tells") || !strings.Contains(last, "no-such-branch") || !strings.Contains(last, "exit status 4") {
		r.t.Errorf("a run that fails is told so:\n%s", out)
	}
}

// traces lists what a cluster could leave.
func traces(c cluster.Cluster) string {
	var out strings.Builder
	for _, path := range []string{
		c.Dir, "/run/containerd", "/opt/containerd", "/var/lib/kubelet", "/var/log/containers", "/var/log/pods", "/etc/cni",
		"/root/.kube", "/sys/fs/cgroup/kubepods",
	} {
		_ = filepath.WalkDir(path, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				out.WriteString(path + "\n")
			}
			return nil
		})
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/kubepods")
	out.WriteString(strings.Join(groups, "\n"))
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.Dir) {
			out.WriteString("mounted: " + line)
		}
	}
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		if line, _ := os.ReadFile(path); strings.Contains(string(line), c.Dir+"/") {
			out.WriteString("still running: " + string(line) + "\n")
		}
	}
	return out.String()
}
