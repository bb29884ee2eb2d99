package imageapi

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
)

// Runner really runs pods. Run runs one until ctx ends, and returns when nothing of it is left; report tells, as often
// as something changed, how it is. What it cannot run it reports as waiting, and tries again by itself.
type Runner interface {
	Run(ctx context.Context, pod Pod, report func(PodState))
}

// Pod is what a Runner is to run: the first container of a pod, since more is not needed here.
type Pod struct {
	Namespace, Name string
	Container       string
	Image           string
	Command, Args   []string // instead of the image's entrypoint and command
	Env             []string // NAME=VALUE
	Port            int      // the first that the container declares, 0 if none
	Grace           time.Duration

	// Credentials are the accounts of the namespace for a repository, to be tried in this order.
	Credentials func(name.Repository) []authn.Authenticator
}

// PodState is how a pod is. The zero value is one that is being created.
type PodState struct {
	ImageID  string // REPOSITORY@DIGEST of the image that runs: of an index the platform's
	Running  bool
	Ready    bool
	Port     int    // on loopback, where it can be reached
	Reason   string // why it waits: ErrImagePull, ImagePullBackOff, CrashLoopBackOff
	Message  string
	Restarts int64
}

// nodeController runs the pods: with the Runner, or in appearance.
type nodeController struct {
	server  *Server
	running map[types.UID]*runningPod
}

type runningPod struct {
	stop context.CancelFunc
	done chan struct{}
}

func (c *nodeController) reconcile(ctx context.Context) time.Duration {
	found, _ := c.server.store.list(pods, "")
	exists := map[types.UID]bool{}
	for _, pod := range found {
		exists[pod.GetUID()] = pod.GetDeletionTimestamp() == nil
		switch {
		case c.server.options.Runner == nil && pod.GetDeletionTimestamp() != nil:
			c.remove(pod)
		case c.server.options.Runner == nil:
			c.server.reportPod(pod, c.pretend(pod))
		case c.running[pod.GetUID()] == nil && pod.GetDeletionTimestamp() != nil:
			c.remove(pod)
		case c.running[pod.GetUID()] == nil:
			c.start(ctx, pod)
		}
	}
	for uid, pod := range c.running {
		if !exists[uid] {
			pod.stop() // and when it is over, the pod is removed
		}
		select {
		case <-pod.done:
			delete(c.running, uid)
			c.server.store.touch()
		default:
		}
	}
	return 0
}

func (c *nodeController) remove(pod *unstructured.Unstructured) {
	_, _ = c.server.store.delete(pods, pod.GetNamespace(), pod.GetName()) // gone already: so it should be
}

// start hands a pod to the Runner.
func (c *nodeController) start(ctx context.Context, pod *unstructured.Unstructured) {
	ctx, stop := context.WithCancel(ctx)
	running := &runningPod{stop: stop, done: make(chan struct{})}
	c.running[pod.GetUID()] = running
	described := c.describe(pod)
	c.server.workers.Go(func() {
		defer stop()
		c.server.options.Runner.Run(ctx, described, func(state PodState) {
			if current, err := c.server.store.get(pods, pod.GetNamespace(), pod.GetName()); err == nil &&
				current.GetUID() == pod.GetUID() {
				c.server.reportPod(current, state)
			}
		})
		c.server.options.Log("node pod %s/%s is stopped", pod.GetNamespace(), pod.GetName())
		close(running.done)
		c.server.store.touch()
	})
}

func (c *nodeController) describe(pod *unstructured.Unstructured) Pod {
	described := Pod{
		Namespace: pod.GetNamespace(), Name: pod.GetName(),
		Grace: time.Duration(number(pod.Object, 30, "spec", "terminationGracePeriodSeconds")) * time.Second,
		Credentials: func(repository name.Repository) []authn.Authenticator {
			return c.server.credentials(c.server.stopping, pod.GetNamespace(), repository)
		},
	}
	containers := items(pod.Object, "spec", "containers")
	if len(containers) == 0 {
		return described
	}
	first := containers[0]
	described.Container, described.Image = text(first, "name"), text(first, "image")
	described.Command, _, _ = unstructured.NestedStringSlice(first, "command")
	described.Args, _, _ = unstructured.NestedStringSlice(first, "args")
	for _, one := range items(first, "env") {
		described.Env = append(described.Env, text(one, "name")+"="+text(one, "value"))
	}
	for _, one := range items(first, "ports") {
		described.Port = int(number(one, 0, "containerPort"))
		break
	}
	return described
}

// pretend says how a pod would be, faults considered.
func (c *nodeController) pretend(pod *unstructured.Unstructured) PodState {
	faults, image := c.server.fault(), c.describe(pod).Image
	_, owner, _ := strings.Cut(pod.GetAnnotations()[workloadAnnotation], "/")
	if faults.Pull != nil {
		if problem := faults.Pull(image); problem != "" {
			return PodState{Reason: "ImagePullBackOff", Message: fmt.Sprintf("Back-off pulling image %q: %s", image, problem)}
		}
	}
	state := PodState{ImageID: c.server.imageID(image), Running: true, Ready: true}
	if faults.Crash != nil {
		if message := faults.Crash(image); message != "" {
			state.Running, state.Ready, state.Restarts = false, false, 1
			state.Reason, state.Message = "CrashLoopBackOff", message
		}
	}
	if faults.Stuck != nil && faults.Stuck(pod.GetNamespace(), owner) {
		state.Ready = false
	}
	return state
}

// imageID is what a node reports for an image: of an index the child for the node's platform.
func (s *Server) imageID(image string) string {
	repository, digest, found := strings.Cut(image, "@")
	if !found {
		return image
	}
	stored, err := s.store.get(images, "", digest)
	if err != nil {
		return image
	}
	var children []child
	for _, one := range items(stored.Object, "dockerImageManifests") {
		children = append(children, child{digest: text(one, "digest"), architecture: text(one, "architecture"), os: text(one, "os")})
	}
	if len(children) == 0 {
		return image
	}
	return repository + "@" + ownPlatform(children).digest
}

// portAnnotation says where on loopback a pod answers, since pods here share one address.
const portAnnotation = "imageapi.test/port"

// reportPod writes a pod's status, and notes new trouble as an event.
func (s *Server) reportPod(pod *unstructured.Unstructured, state PodState) {
	after := pod.DeepCopy()
	if state.Port > 0 {
		annotate(after, portAnnotation, fmt.Sprint(state.Port))
	}
	put(after.Object, "localhost", "spec", "nodeName")
	before := items(pod.Object, "status", "conditions")
	isReady, phase := "False", "Pending"
	if state.Ready {
		isReady = "True"
	}
	if state.Running || state.Restarts > 0 {
		phase = "Running"
	}
	condition := func(kind, status string) any {
		timed := keepTimes(before, map[string]any{"type": kind, "status": status})
		delete(timed, "lastUpdateTime")
		return timed
	}
	created := pod.GetCreationTimestamp()
	container := map[string]any{
		"name": firstContainer(pod), "image": firstImage(pod), "imageID": state.ImageID, "ready": state.Ready,
		"started": state.Running, "restartCount": state.Restarts,
	}
	switch {
	case state.Reason != "":
		container["state"] = map[string]any{"waiting": map[string]any{"reason": state.Reason, "message": state.Message}}
	case state.Running:
		container["state"] = map[string]any{"running": map[string]any{"startedAt": startedAt(pod)}}
	default:
		container["state"] = map[string]any{"waiting": map[string]any{"reason": "ContainerCreating"}}
	}
	after.Object["status"] = map[string]any{
		"phase": phase, "podIP": "127.0.0.1", "hostIP": "127.0.0.1", "startTime": created.UTC().Format(time.RFC3339),
		"conditions": []any{
			condition("PodScheduled", "True"), condition("Initialized", "True"),
			condition("ContainersReady", isReady), condition("Ready", isReady),
		},
		"containerStatuses": []any{container},
	}
	after.SetResourceVersion(pod.GetResourceVersion())
	if _, err := s.store.update(pods, after); err == nil && state.Reason != "" && state.Reason != reasonOf(pod) {
		s.noteTrouble(pod, state)
	}
}

func firstContainer(pod *unstructured.Unstructured) string {
	for _, one := range items(pod.Object, "spec", "containers") {
		return text(one, "name")
	}
	return ""
}

func firstImage(pod *unstructured.Unstructured) string {
	for _, one := range items(pod.Object, "spec", "containers") {
		return text(one, "image")
	}
	return ""
}

// startedAt keeps the time of a container that ran before.
func startedAt(pod *unstructured.Unstructured) string {
	for _, one := range items(pod.Object, "status", "containerStatuses") {
		if at := text(one, "state", "running", "startedAt"); at != "" {
			return at
		}
	}
	return metav1.Now().UTC().Format(time.RFC3339)
}

func reasonOf(pod *unstructured.Unstructured) string {
	for _, one := range items(pod.Object, "status", "containerStatuses") {
		return text(one, "state", "waiting", "reason")
	}
	return ""
}

// noteTrouble writes the event that people look for first.
func (s *Server) noteTrouble(pod *unstructured.Unstructured, state PodState) {
	now := metav1.Now().UTC().Format(time.RFC3339)
	_, _ = s.create(events, &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"generateName": pod.GetName() + ".", "namespace": pod.GetNamespace()},
		"involvedObject": map[string]any{
			"kind": "Pod", "apiVersion": "v1", "name": pod.GetName(), "namespace": pod.GetNamespace(), "uid": string(pod.GetUID()),
		},
		"type": "Warning", "reason": "Failed", "message": state.Reason + ": " + state.Message, "count": int64(1),
		"firstTimestamp": now, "lastTimestamp": now,
	}})
}
