package workload

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"dockline/pkg/imagestream"
)

func object(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var u unstructured.Unstructured
	if err := u.UnmarshalJSON(content); err != nil {
		t.Fatal(err)
	}
	return &u
}

// TestRollouts has the states of each kind's rollout, as its controller documents them.
func TestRollouts(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, kind, fields string
		phase              Phase
		says               string
	}{
		{"not seen yet", Deployment, `metadata: {generation: 2}
status: {observedGeneration: 1, updatedReplicas: 1, replicas: 1, availableReplicas: 1}`, RollingOut, "has not seen"},
		{"complete", Deployment, `spec: {replicas: 2}
status: {updatedReplicas: 2, replicas: 2, availableReplicas: 2}`, Complete, "2 pods"},
		{"default of one replica", Deployment, `status: {updatedReplicas: 1, replicas: 1, availableReplicas: 1}`, Complete, "1 pod"},
		{"scaled to zero", Deployment, `spec: {replicas: 0}`, Complete, "scaled to zero"},
		{"too few new", Deployment, `spec: {replicas: 3}
status: {updatedReplicas: 1, replicas: 3, availableReplicas: 3}`, RollingOut, "1 of 3 pods are new"},
		{"old pods left", Deployment, `status: {updatedReplicas: 1, replicas: 2, availableReplicas: 2}`, RollingOut, "1 old pods"},
		{"not available", Deployment, `status: {updatedReplicas: 1, replicas: 1}`, RollingOut, "0 of 1 pods are available"},
		{"quota", Deployment, `status: {conditions: [{type: ReplicaFailure, status: "True", reason: FailedCreate, message: quota}]}`,
			RollingOut, "FailedCreate: quota"},
		{"given up", Deployment, `status: {conditions: [{type: Progressing, status: "False", reason: ProgressDeadlineExceeded, message: m}]}`,
			Failed, "ProgressDeadlineExceeded: m"},
		{"paused", Deployment, `spec: {paused: true}`, Held, "spec.paused"},
		{"DeploymentConfig", DeploymentConfig, `status: {updatedReplicas: 1, replicas: 1, availableReplicas: 1}`, Complete, "1 pod"},
		{"StatefulSet", StatefulSet, `spec: {replicas: 2}
status: {updatedReplicas: 2, readyReplicas: 2}`, Complete, "2 pods"},
		{"StatefulSet on the way", StatefulSet, `spec: {replicas: 2}
status: {updatedReplicas: 1, readyReplicas: 2}`, RollingOut, "1 of 2 pods are new"},
		{"StatefulSet with a partition", StatefulSet, `spec: {replicas: 2, updateStrategy: {rollingUpdate: {partition: 1}}}
status: {updatedReplicas: 1, readyReplicas: 2}`, Held, "partition"},
		{"StatefulSet on delete", StatefulSet, `spec: {updateStrategy: {type: OnDelete}}`, Held, "OnDelete"},
		{"DaemonSet", DaemonSet, `status: {desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 3}`, Complete, "3 pods"},
		{"DaemonSet on the way", DaemonSet, `status: {desiredNumberScheduled: 3, updatedNumberScheduled: 3, numberAvailable: 2}`,
			RollingOut, "2 of 3 pods are available"},
		{"CronJob", CronJob, `spec: {}`, Complete, "next run"},
		{"suspended CronJob", CronJob, `spec: {suspend: true}`, Held, "suspended"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			w := read(row.kind, object(t, "apiVersion: v1\nkind: "+row.kind+"\n"+row.fields))
			if phase, says := w.progress(); phase != row.phase || !strings.Contains(says, row.says) {
				t.Errorf("%s, %q; want %s, %q", phase, says, row.phase, row.says)
			}
		})
	}
}

func TestTriggers(t *testing.T) {
	t.Parallel()
	const template = "\nspec: {template: {spec: {initContainers: [{name: init}], containers: [{name: app, image: x}]}}}"
	for _, row := range []struct {
		name, kind, text string
		want             []Trigger
	}{
		{"by name", Deployment, `[{"from":{"kind":"ImageStreamTag","name":"a:b"},"fieldPath":"spec.template.spec.containers[?(@.name==\"app\")].image"}]`,
			[]Trigger{{StreamTag: "a:b", Container: "app"}}},
		{"by number, of another namespace, paused", Deployment,
			`[{"from":{"kind":"ImageStreamTag","name":"a:b","namespace":"dev"},"fieldPath":"spec.template.spec.containers[0].image","paused":true}]`,
			[]Trigger{{StreamTag: "a:b", Namespace: "dev", Container: "app", Paused: true}}},
		{"init container", Deployment, `[{"from":{"kind":"ImageStreamTag","name":"a:b"},"fieldPath":"spec.template.spec.initContainers[0].image"}]`,
			[]Trigger{{StreamTag: "a:b", Container: "init"}}},
		{"no such container", Deployment, `[{"from":{"kind":"ImageStreamTag","name":"a:b"},"fieldPath":"spec.template.spec.containers[7].image"}]`,
			[]Trigger{{StreamTag: "a:b", Problem: `its fieldPath "spec.template.spec.containers[7].image" names no container of the pod template`}}},
		{"paused as a text", Deployment,
			`[{"from":{"kind":"ImageStreamTag","name":"a:b"},"fieldPath":"spec.template.spec.containers[0].image","paused":"false"}]`,
			[]Trigger{{StreamTag: "a:b", Container: "app", Problem: `paused must be true or false without quotes, and is "false"`}}},
		{"none", Deployment, "", nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			u := object(t, "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: x, namespace: dev}"+template)
			u.SetAnnotations(map[string]string{TriggerAnnotation: row.text})
			w := read(row.kind, u)
			if diff := cmp.Diff(row.want, w.Triggers); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			follows := w.Follows(imagestream.Name{Stream: "a", Tag: "b"}, "dev")
			if len(follows) != len(row.want) {
				t.Errorf("it follows a:b by %d triggers", len(follows))
			}
		})
	}
	config := read(DeploymentConfig, object(t, `
apiVersion: apps.openshift.io/v1
kind: DeploymentConfig
metadata: {name: x, namespace: dev}
spec:
  triggers:
  - {type: ConfigChange}
  - {type: ImageChange, imageChangeParams: {automatic: false, containerNames: [app], from: {kind: ImageStreamTag, name: "a:b"}}}
  template: {spec: {containers: [{name: app}]}}`))
	want := []Trigger{{StreamTag: "a:b", Container: "app", Paused: true}}
	if diff := cmp.Diff(want, config.Triggers); diff != "" {
		t.Errorf("DeploymentConfig: (-want +got)\n%s", diff)
	}
}

func FuzzTriggers(f *testing.F) {
	f.Add(`[{"from":{"kind":"ImageStreamTag","name":"a:b"},"fieldPath":"spec.template.spec.containers[0].image","paused":1}]`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, annotation string) {
		u := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": "x"}}}
		u.SetAnnotations(map[string]string{TriggerAnnotation: annotation})
		for _, trigger := range annotated(u) {
			if trigger.Container != "" && trigger.Problem == "" {
				t.Errorf("%q finds a container where there is none", annotation)
			}
		}
	})
}

func TestPodsRunADigest(t *testing.T) {
	t.Parallel()
	const index, child = "sha256:11", "sha256:22"
	for _, row := range []struct {
		name  string
		pod   Pod
		right bool
	}{
		{"the image itself", Pod{Digest: index}, true},
		{"a platform's image of the index", Pod{Digest: child}, true},
		{"another image", Pod{Digest: "sha256:33", Image: "r@" + index, Ready: true}, false},
		{"the node reports no digest, but the pod asks by it", Pod{Image: "r@" + index, Ready: true}, true},
		{"not started", Pod{Image: "r@" + index}, false},
	} {
		if got := row.pod.Runs([]string{index, child}); got != row.right {
			t.Errorf("%s: %t", row.name, got)
		}
	}
}

func TestPorts(t *testing.T) {
	t.Parallel()
	ports, err := parsePorts([]string{"8443/tcp", "53/udp", "9"})
	if err != nil || len(ports) != 3 || ports[0].name() != "8443-tcp" || ports[1].name() != "53-udp" || ports[2].name() != "9-tcp" {
		t.Errorf("%v %v", ports, err)
	}
	for _, wrong := range []string{"x", "0/tcp", "70000", "-1"} {
		if _, err := parsePorts([]string{wrong}); err == nil {
			t.Errorf("port %q is accepted", wrong)
		}
	}
}
