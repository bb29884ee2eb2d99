package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"dockline/pkg/cluster"
	"dockline/pkg/image"
)

// Pod is one pod of a workload, seen through one of its containers.
type Pod struct {
	Name     string
	Image    string // as the pod asks for it
	Digest   string // as the node reports it: the image's, or of an index the one of the node's platform; "" before it runs
	Ready    bool
	Leaving  bool   // being deleted
	Restarts int64  // of the container
	Trouble  string // why it does not run, "REASON: MESSAGE"; empty while nothing is wrong
	Fatal    bool   // the trouble does not go away by itself
}

// Runs tells whether the pod runs one of these digests. A pod that asks for an image by digest cannot run another one,
// also where the node reports the ID of the image's configuration instead.
func (p Pod) Runs(digests []string) bool {
	return slices.Contains(digests, p.Digest) || p.Digest == "" && p.Ready && slices.Contains(digests, image.DigestOf(p.Image))
}

// pods returns the pods that the workload's selector matches, for the container of that name.
func (c *Client) pods(ctx context.Context, w Workload, container string) ([]Pod, error) {
	selector, err := w.selector()
	if err != nil || selector == "" {
		return nil, err
	}
	objects, err := c.cluster.List(ctx, pods, c.namespace, selector)
	if err != nil {
		return nil, err
	}
	var all []Pod
	for i := range objects {
		pod, finished, err := readPod(&objects[i], container)
		if err != nil {
			return nil, err
		}
		if !finished {
			all = append(all, pod)
		}
	}
	slices.SortFunc(all, func(a, b Pod) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// selector returns the label selector of the workload's pods; a CronJob has none.
func (w Workload) selector() (string, error) {
	fields, found, _ := unstructured.NestedMap(w.object.Object, "spec", "selector")
	if !found || w.Kind == CronJob {
		return "", nil
	}
	if w.Kind == DeploymentConfig { // a plain map of labels
		labels, _, _ := unstructured.NestedStringMap(w.object.Object, "spec", "selector")
		return metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: labels}), nil
	}
	var selector metav1.LabelSelector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(fields, &selector); err != nil {
		return "", fmt.Errorf("reading the selector of %s: %w", w, err)
	}
	return metav1.FormatLabelSelector(&selector), nil
}

func readPod(object *unstructured.Unstructured, container string) (pod Pod, finished bool, err error) {
	type status struct {
		Name     string `json:"name"`
		ImageID  string `json:"imageID"`
		Ready    bool   `json:"ready"`
		Restarts int64  `json:"restartCount"`
		State    struct {
			Waiting *struct {
				Reason  string `json:"reason"`
				Message string `json:"message"`
			} `json:"waiting"`
			Terminated *struct {
				Reason   string `json:"reason"`
				Message  string `json:"message"`
				ExitCode int    `json:"exitCode"`
			} `json:"terminated"`
		} `json:"state"`
	}
	type named struct {
		Name  string `json:"name"`
		Image string `json:"image"`
	}
	var fields struct {
		Spec struct {
			Init       []named `json:"initContainers"`
			Containers []named `json:"containers"`
		} `json:"spec"`
		Status struct {
			Phase      string   `json:"phase"`
			Init       []status `json:"initContainerStatuses"`
			Containers []status `json:"containerStatuses"`
			Conditions []struct {
				Type    string `json:"type"`
				Status  string `json:"status"`
				Reason  string `json:"reason"`
				Message string `json:"message"`
			} `json:"conditions"`
		} `json:"status"`
	}
	if err := cluster.Decode(object, &fields); err != nil {
		return Pod{}, false, err
	}
	pod = Pod{Name: object.GetName(), Leaving: object.GetDeletionTimestamp() != nil}
	for _, c := range append(fields.Spec.Init, fields.Spec.Containers...) {
		if c.Name == container {
			pod.Image = c.Image
		}
	}
	for _, condition := range fields.Status.Conditions {
		switch {
		case condition.Type == "Ready":
			pod.Ready = condition.Status == "True"
		case condition.Type == "PodScheduled" && condition.Status == "False":
			pod.Trouble = condition.Reason + ": " + condition.Message
		}
	}
	// The trouble of any container keeps the pod from running; the digest is that of the one that was asked for.
	for _, c := range append(fields.Status.Init, fields.Status.Containers...) {
		if c.Name == container {
			pod.Digest = image.DigestOf(c.ImageID)
			pod.Restarts = c.Restarts
		}
		if waiting := c.State.Waiting; waiting != nil && !slices.Contains(starting, waiting.Reason) {
			pod.Trouble = strings.TrimSuffix(waiting.Reason+": "+waiting.Message, ": ")
			pod.Fatal = true
		}
		if ended := c.State.Terminated; ended != nil && ended.ExitCode != 0 && pod.Trouble == "" {
			pod.Trouble = fmt.Sprintf("%s: exit status %d %s", ended.Reason, ended.ExitCode, ended.Message)
		}
	}
	return pod, fields.Status.Phase == "Succeeded" || fields.Status.Phase == "Failed", nil
}

// starting are the reasons for waiting that every container passes through.
var starting = []string{"", "ContainerCreating", "PodInitializing"}
