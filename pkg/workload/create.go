package workload

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
)

// App is what a first deployment consists of: the objects that `oc new-app STREAM:TAG` and `oc expose` make.
type App struct {
	Name  string           // of the Deployment, the Service and the Route
	Tag   imagestream.Name // that the Deployment follows
	Image string           // HOST/NAME@DIGEST that the tag means now: the first pods need not wait for the trigger
	Ports []string         // that the image exposes, such as "8080/tcp"; the default is 8080/tcp
}

// Created tells what CreateApp did.
type Created struct {
	Objects []string // made: "Deployment hello-app"
	Host    string   // of the Route, where one was made; empty while the cluster has not given one
	NoRoute bool     // the cluster knows no Routes
}

// CreateApp makes a Deployment with an image trigger, a Service and a Route. What exists already is not touched. A
// Deployment of that name that does not follow the tag is an error of kind fault.Refused.
func (c *Client) CreateApp(ctx context.Context, app App) (Created, error) {
	ports, err := parsePorts(app.Ports)
	if err != nil {
		return Created{}, err
	}
	var done Created
	if _, err := c.create(ctx, deployments, app.deployment(c.namespace, ports), &done); err != nil {
		return done, err
	}
	if err := c.checkFollows(ctx, app); err != nil {
		return done, err
	}
	if _, err := c.create(ctx, services, app.service(ports), &done); err != nil {
		return done, err
	}
	route, err := c.create(ctx, routes, app.route(ports), &done)
	if fault.KindOf(err) == fault.NotFound {
		done.NoRoute = true
		return done, nil
	}
	if err != nil {
		return done, err
	}
	done.Host, _, _ = unstructured.NestedString(route.Object, "spec", "host")
	return done, nil
}

// create makes the object, or returns the one that is there.
func (c *Client) create(
	ctx context.Context, r cluster.Resource, fields map[string]any, done *Created,
) (*unstructured.Unstructured, error) {
	object := &unstructured.Unstructured{Object: fields}
	object.SetAPIVersion(r.APIVersion())
	object.SetKind(r.Kind)
	object.SetNamespace(c.namespace)
	label := r.Kind + " " + object.GetName()
	made, err := c.cluster.Create(ctx, r, c.namespace, object)
	switch {
	case err == nil:
		done.Objects = append(done.Objects, label)
		return made, nil
	case errors.Is(err, cluster.ErrConflict):
		return c.cluster.Get(ctx, r, c.namespace, object.GetName())
	}
	return nil, err
}

func (c *Client) checkFollows(ctx context.Context, app App) error {
	object, err := c.cluster.Get(ctx, deployments, c.namespace, app.Name)
	if err != nil {
		return err
	}
	if len(read(Deployment, object).Follows(app.Tag, c.namespace)) == 0 {
		return fault.WithHint(fault.At(cluster.Side, fault.New(fault.Refused,
			"creating the app %q: a Deployment of that name exists and does not follow %s", app.Name, app.Tag)),
			"Give the app another name with APP_NAME, or put the annotation "+TriggerAnnotation+" on that Deployment.")
	}
	return nil
}

func (app App) deployment(namespace string, ports []port) map[string]any {
	trigger, _ := json.Marshal([]any{map[string]any{ // marshals maps of strings
		"from":      map[string]any{"kind": "ImageStreamTag", "name": app.Tag.String(), "namespace": namespace},
		"fieldPath": fmt.Sprintf("spec.template.spec.containers[?(@.name==%q)].image", app.Tag.Stream),
	}})
	var containerPorts []any
	for _, p := range ports {
		containerPorts = append(containerPorts, map[string]any{"containerPort": p.number, "protocol": p.protocol})
	}
	return map[string]any{
		"metadata": app.metadata(map[string]any{TriggerAnnotation: string(trigger)}),
		"spec": map[string]any{
			"replicas": int64(1),
			"selector": map[string]any{"matchLabels": map[string]any{"deployment": app.Name}},
			"template": map[string]any{
				"metadata": map[string]any{"labels": map[string]any{"deployment": app.Name}},
				"spec": map[string]any{"containers": []any{map[string]any{
					"name": app.Tag.Stream, "image": app.Image, "imagePullPolicy": "IfNotPresent", "ports": containerPorts,
				}}},
			},
		},
	}
}

func (app App) service(ports []port) map[string]any {
	var servicePorts []any
	for _, p := range ports {
		servicePorts = append(servicePorts, map[string]any{
			"name": p.name(), "port": p.number, "protocol": p.protocol, "targetPort": p.number,
		})
	}
	return map[string]any{
		"metadata": app.metadata(nil),
		"spec":     map[string]any{"selector": map[string]any{"deployment": app.Name}, "ports": servicePorts},
	}
}

func (app App) route(ports []port) map[string]any {
	return map[string]any{
		"metadata": app.metadata(nil),
		"spec": map[string]any{
			"to":   map[string]any{"kind": "Service", "name": app.Name, "weight": int64(100)},
			"port": map[string]any{"targetPort": ports[0].name()},
		},
	}
}

func (app App) metadata(annotations map[string]any) map[string]any {
	metadata := map[string]any{"name": app.Name, "labels": map[string]any{
		"app": app.Name, "app.kubernetes.io/component": app.Name, "app.kubernetes.io/instance": app.Name,
		"app.kubernetes.io/name": app.Tag.Stream,
	}}
	if annotations != nil {
		metadata["annotations"] = annotations
	}
	return metadata
}

type port struct {
	number   int64
	protocol string // TCP, UDP or SCTP
}

func (p port) name() string { return fmt.Sprintf("%d-%s", p.number, strings.ToLower(p.protocol)) }

// parsePorts reads what EXPOSE leaves in an image's configuration: "8080/tcp" or "8080".
func parsePorts(exposed []string) ([]port, error) {
	var ports []port
	for _, text := range exposed {
		number, protocol, _ := strings.Cut(text, "/")
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil || n == 0 {
			return nil, fault.New(fault.Configuration, "reading the image's port %q: it is no number from 1 to 65535", text)
		}
		ports = append(ports, port{number: int64(n), protocol: strings.ToUpper(cmp.Or(protocol, "tcp"))})
	}
	if len(ports) == 0 {
		ports = []port{{number: defaultPort, protocol: "TCP"}}
	}
	return ports, nil
}

// defaultPort is what a web server in an unprivileged container usually listens on.
const defaultPort = 8080
