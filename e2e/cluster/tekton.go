package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
	yamls "sigs.k8s.io/yaml"
)

// Ports of Tekton's programs. In pods of their own all have 8080, 8443 and 9090; here they share one network.
const (
	pipelinesWebhook = 9443
	triggersWebhook  = 9453
	listenerPort     = 8080 // of event listeners, fixed
)

// startTekton starts what Tekton has in pods elsewhere. Its programs all want the listener's port, for probes that nobody
// asks for here, and do without when it is taken: so it is, until they have started.
func (c Cluster) startTekton(ctx context.Context) error {
	taken, err := net.Listen("tcp", fmt.Sprint(":", listenerPort)) //nolint:gosec // nothing is served
	if err != nil {
		return fmt.Errorf("the event listener's port is not free: %w", err)
	}
	defer taken.Close()
	if err := c.startPipelines(ctx); err != nil {
		return fmt.Errorf("pipelines: %w", err)
	}
	if err := c.startTriggers(ctx); err != nil {
		return fmt.Errorf("triggers: %w", err)
	}
	return nil
}

func (c Cluster) startPipelines(ctx context.Context) error {
	dir, err := config(ctx, "github.com/tektoncd/pipeline")
	if err != nil {
		return err
	}
	if err := c.install(ctx, dir, pipelinesWebhook, "resolvers"); err != nil {
		return err
	}
	common := []string{
		"SYSTEM_NAMESPACE=tekton-pipelines", "KUBERNETES_MIN_VERSION=v1.28.0", "METRICS_DOMAIN=tekton.dev/pipeline",
		"CONFIG_LOGGING_NAME=config-logging", "CONFIG_OBSERVABILITY_NAME=config-observability",
		"CONFIG_FEATURE_FLAGS_NAME=feature-flags",
	}
	if err := c.controller("pipelines-webhook", append(common, "CONFIG_LEADERELECTION_NAME=config-leader-election-webhook",
		fmt.Sprint("WEBHOOK_PORT=", pipelinesWebhook), "PROBES_PORT=9444", "METRICS_PROMETHEUS_PORT=9445",
		"WEBHOOK_ADMISSION_CONTROLLER_NAME=webhook.pipeline.tekton.dev", "WEBHOOK_SERVICE_NAME=tekton-pipelines-webhook",
		"WEBHOOK_SECRET_NAME=webhook-certs")); err != nil {
		return err
	}
	if err := c.controller("pipelines-controller", append(common, "CONFIG_LEADERELECTION_NAME=config-leader-election-controller",
		"CONFIG_DEFAULTS_NAME=config-defaults", "CONFIG_SPIRE=config-spire", "PROBES_PORT=9446", "METRICS_PROMETHEUS_PORT=9447"),
		"-disable-ha",
		"-entrypoint-image", localImage("pipelines-entrypoint"), "-nop-image", localImage("pipelines-nop"),
		"-workingdirinit-image", localImage("pipelines-workingdirinit"),
		// None of these is there: no shell, for a step's script, and nothing for Windows.
		"-shell-image", localImage("none"), "-shell-image-win", localImage("none"), "-sidecarlogresults-image", localImage("none"),
	); err != nil {
		return err
	}
	return c.ready(ctx, "pipelines-webhook", `apiVersion: tekton.dev/v1
kind: Task
metadata: {name: probe, namespace: default}
spec: {steps: [{name: probe, image: probe}]}
`)
}

func (c Cluster) startTriggers(ctx context.Context) error {
	dir, err := config(ctx, "github.com/tektoncd/triggers")
	if err != nil {
		return err
	}
	if err := c.install(ctx, dir, triggersWebhook); err != nil {
		return err
	}
	common := []string{
		"SYSTEM_NAMESPACE=tekton-pipelines", "KUBERNETES_MIN_VERSION=v1.28.0", "METRICS_DOMAIN=tekton.dev/triggers",
		"CONFIG_LOGGING_NAME=config-logging-triggers", "CONFIG_OBSERVABILITY_NAME=config-observability-triggers",
	}
	if err := c.controller("triggers-interceptors", append(common, "METRICS_PROMETHEUS_PORT=9449",
		"INTERCEPTOR_TLS_SVC_NAME=tekton-triggers-core-interceptors",
		"INTERCEPTOR_TLS_SECRET_NAME=tekton-triggers-core-interceptors-certs")); err != nil {
		return err
	}
	// They write their certificate into the ClusterInterceptors, once: the controller must not write them at that time.
	if err := until(ctx, time.Minute, func(ctx context.Context) error {
		bundles, err := c.Kubectl(ctx, "get", "clusterinterceptors", "--output=jsonpath={range .items[*]}[{.spec.clientConfig.caBundle}]{end}")
		if err == nil && (bundles == "" || strings.Contains(bundles, "[]")) {
			err = errors.New("an interceptor has no certificate")
		}
		return errors.Join(err, c.alive("triggers-interceptors"))
	}); err != nil {
		return err
	}
	if err := c.controller("triggers-webhook", append(common, "CONFIG_LEADERELECTION_NAME=config-leader-election-triggers-webhook",
		fmt.Sprint("WEBHOOK_PORT=", triggersWebhook), "PROBES_PORT=9454", "METRICS_PROMETHEUS_PORT=9455",
		"WEBHOOK_SERVICE_NAME=tekton-triggers-webhook", "WEBHOOK_SECRET_NAME=triggers-webhook-certs")); err != nil {
		return err
	}
	if err := c.controller("triggers-controller", append(common, "CONFIG_LEADERELECTION_NAME=config-leader-election-triggers-controllers",
		"CONFIG_DEFAULTS_NAME=config-defaults-triggers", "PROBES_PORT=9456", "METRICS_PROMETHEUS_PORT=9457"),
		"-el-image", localImage("triggers-eventlistenersink"), "-el-port", fmt.Sprint(listenerPort),
	); err != nil {
		return err
	}
	if err := c.probesTried(ctx, "triggers-controller"); err != nil {
		return err
	}
	return c.ready(ctx, "triggers-webhook", `apiVersion: triggers.tekton.dev/v1beta1
kind: TriggerTemplate
metadata: {name: probe, namespace: default}
spec:
  resourcetemplates: [{apiVersion: tekton.dev/v1, kind: TaskRun, metadata: {generateName: probe-}, spec: {taskRef: {name: probe}}}]
`)
}

// controller starts one of Tekton's programs, as the administrator.
func (c Cluster) controller(name string, environment []string, args ...string) error {
	return c.start(name, environment, c.program(name), append([]string{"-kubeconfig", c.Kubeconfig()}, args...)...)
}

// probesTried waits until a controller is about to listen for probes, which its webhook may be far ahead of.
func (c Cluster) probesTried(ctx context.Context, name string) error {
	return until(ctx, time.Minute, func(context.Context) error {
		log, err := os.ReadFile(c.in(name + ".log"))
		if err == nil && !bytes.Contains(log, []byte(fmt.Sprint("listening on port ", listenerPort))) {
			err = fmt.Errorf("%s has not come to its probes", name)
		}
		return errors.Join(err, c.alive(name))
	})
}

// ready waits until the webhooks are asked about what they are for, which they see to themselves, and let an object
// through; it is not made.
func (c Cluster) ready(ctx context.Context, webhook, object string) error {
	return until(ctx, time.Minute, func(ctx context.Context) error {
		rules, err := c.Kubectl(ctx, "get", "validatingwebhookconfigurations,mutatingwebhookconfigurations",
			"--output=jsonpath={range .items[*]}[{.webhooks[*].rules}]{end}")
		if err == nil && strings.Contains(rules, "[]") {
			err = errors.New("a webhook has no rules")
		}
		if err == nil {
			command := c.Command(ctx, "create", "--dry-run=server", "--filename=-")
			command.Stdin = strings.NewReader(object)
			_, err = run(command)
		}
		return errors.Join(err, c.alive(webhook))
	})
}

// install applies the objects of a Tekton's folder config/: all but its Deployments, which are processes here. Their
// webhooks are asked for on a port of localhost.
func (c Cluster) install(ctx context.Context, dir string, webhook int, without ...string) error {
	objects, err := read(dir, without)
	if err != nil {
		return err
	}
	var kept bytes.Buffer
	for _, object := range objects {
		switch object.GetKind() {
		case "Deployment", "HorizontalPodAutoscaler", "PodDisruptionBudget":
			continue
		case "Service":
			object.Object["spec"] = map[string]any{"type": "ExternalName", "externalName": "localhost"}
		}
		if object.GetKind() != "ClusterInterceptor" {
			setPort(object.Object, webhook)
		}
		text, err := yamls.Marshal(object.Object)
		if err != nil {
			return err
		}
		fmt.Fprintf(&kept, "---\n%s", text)
	}
	// What a CustomResourceDefinition defines can be made a moment after it.
	return until(ctx, 30*time.Second, func(ctx context.Context) error { return c.apply(ctx, kept.String()) })
}

// read reads the objects of a folder, those first that others need.
func read(dir string, without []string) (objects []unstructured.Unstructured, err error) {
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			if slices.Contains(without, entry.Name()) {
				return fs.SkipDir
			}
			return err
		}
		if filepath.Ext(path) != ".yaml" {
			return nil
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		decoder := yaml.NewYAMLOrJSONDecoder(file, 4096)
		for {
			object := unstructured.Unstructured{}
			if err := decoder.Decode(&object.Object); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return fmt.Errorf("reading %q: %w", path, err)
			}
			if object.Object != nil {
				objects = append(objects, object)
			}
		}
	})
	return objects, err
}

// setPort has every webhook called on a port: that of clientConfig.service, wherever it is.
func setPort(value any, port int) {
	switch value := value.(type) {
	case map[string]any:
		if config, found := value["clientConfig"].(map[string]any); found {
			if service, found := config["service"].(map[string]any); found {
				service["port"] = int64(port)
			}
		}
		for _, inner := range value {
			setPort(inner, port)
		}
	case []any:
		for _, inner := range value {
			setPort(inner, port)
		}
	}
}
