// Package workload tells whether the workloads of a namespace run an image: which of them follow a stream tag, whether
// their pod templates carry its digest, how far the rollout is, and what the pods really run.
package workload

import (
	"context"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// Client reads the workloads of one namespace.
type Client struct {
	cluster   *cluster.Cluster
	namespace string
}

// In returns a client for the workloads of a namespace.
func In(c *cluster.Cluster, namespace string) *Client {
	return &Client{cluster: c, namespace: namespace}
}

// Workload is a Deployment, DeploymentConfig, StatefulSet, DaemonSet or CronJob.
type Workload struct {
	Kind, Name, Namespace string
	Containers            []Container // of the pod template, the init containers first
	Triggers              []Trigger   // image triggers, whatever they follow

	inits  int // how many of Containers are init containers
	object *unstructured.Unstructured
}

// Container is one container of a pod template.
type Container struct{ Name, Image string }

// String returns KIND NAME, such as "Deployment hello-app".
func (w Workload) String() string { return w.Kind + " " + w.Name }

// List returns the workloads of the namespace, by kind and name. A kind that the cluster does not have, such as
// DeploymentConfig outside of OpenShift, is left out.
func (c *Client) List(ctx context.Context) ([]Workload, error) {
	var all []Workload
	for _, kind := range kinds {
		objects, err := c.cluster.List(ctx, kind, c.namespace, "")
		if fault.KindOf(err) == fault.NotFound {
			continue
		}
		if err != nil {
			return nil, err
		}
		for i := range objects {
			all = append(all, read(kind.Kind, &objects[i]))
		}
	}
	slices.SortStableFunc(all, func(a, b Workload) int { return strings.Compare(a.String(), b.String()) })
	return all, nil
}

func read(kind string, object *unstructured.Unstructured) Workload {
	w := Workload{Kind: kind, Name: object.GetName(), Namespace: object.GetNamespace(), object: object}
	for _, field := range []string{"initContainers", "containers"} {
		containers, _, _ := unstructured.NestedSlice(object.Object, append(w.podSpec(), field)...)
		for _, entry := range containers {
			fields, _ := entry.(map[string]any)
			name, _ := fields["name"].(string)
			image, _ := fields["image"].(string)
			w.Containers = append(w.Containers, Container{Name: name, Image: strings.TrimSpace(image)})
		}
		if field == "initContainers" {
			w.inits = len(w.Containers)
		}
	}
	w.Triggers = append(annotated(object), configured(kind, object)...)
	return w
}

// podSpec returns the path of the pod template's spec in the object.
func (w Workload) podSpec() []string {
	if w.Kind == CronJob {
		return []string{"spec", "jobTemplate", "spec", "template", "spec"}
	}
	return []string{"spec", "template", "spec"}
}

// The kinds of workload.
const (
	CronJob          = "CronJob"
	DaemonSet        = "DaemonSet"
	Deployment       = "Deployment"
	DeploymentConfig = "DeploymentConfig"
	StatefulSet      = "StatefulSet"
)

var (
	deployments = cluster.Resource{Group: "apps", Version: "v1", Plural: "deployments", Kind: Deployment}
	pods        = cluster.Resource{Version: "v1", Plural: "pods", Kind: "Pod"}
	services    = cluster.Resource{Version: "v1", Plural: "services", Kind: "Service"}
	routes      = cluster.Resource{Group: "route.openshift.io", Version: "v1", Plural: "routes", Kind: "Route"}

	kinds = []cluster.Resource{
		deployments,
		{Group: "apps.openshift.io", Version: "v1", Plural: "deploymentconfigs", Kind: DeploymentConfig},
		{Group: "apps", Version: "v1", Plural: "statefulsets", Kind: StatefulSet},
		{Group: "apps", Version: "v1", Plural: "daemonsets", Kind: DaemonSet},
		{Group: "batch", Version: "v1", Plural: "cronjobs", Kind: CronJob},
	}
)
