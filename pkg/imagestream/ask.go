package imagestream

import (
	"context"
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// Pull is what the cluster itself sees under a reference in a registry.
type Pull struct {
	Digest   string   // the image's, or the index's
	Children []string // digests of an index's images; empty for one image
	Ports    []string // what the image (an index's first) exposes, such as "8080/tcp"
	Labels   map[string]string
	Created  time.Time // when it was built, by its own configuration; zero where that does not say, as an index's
}

// Ask has the cluster look at HOST/NAME:VERSION (or @DIGEST) in the registry with the pull secrets of the namespace,
// without changing anything: an ImageStreamImport with spec.import false. It tells beforehand whether a tag that
// points there could be imported. An index is told as such, whatever the tag's import mode.
//
// A refusal is an error of the kind that its reason calls for: fault.NotFound, fault.Denied, fault.Unavailable.
func (c *Client) Ask(ctx context.Context, stream, reference string, insecure bool) (Pull, error) {
	request := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": Imports.APIVersion(), "kind": Imports.Kind,
		"spec": map[string]any{
			"import": false,
			"images": []any{map[string]any{
				"from":            map[string]any{"kind": DockerImage, "name": reference},
				"importPolicy":    map[string]any{"insecure": insecure, "importMode": PreserveOriginal},
				"referencePolicy": map[string]any{"type": "Source"},
			}},
		},
		"status": map[string]any{},
	}}
	request.SetName(stream)
	request.SetNamespace(c.namespace)
	doing := fmt.Sprintf("asking the cluster for %q", reference)
	pause := c.patience.First
	for attempt := 1; ; attempt++ {
		answer, err := c.cluster.Create(ctx, Imports, c.namespace, request)
		if err != nil {
			return Pull{}, fmt.Errorf("%s: %w", doing, err)
		}
		pull, failure, err := readPull(answer)
		switch {
		case err != nil:
			return Pull{}, fault.At(cluster.Side, fmt.Errorf("%s: %w", doing, err))
		case failure == nil:
			return pull, nil
		case attempt >= mostAsks || !failure.temporary():
			return Pull{}, c.hinted(failure.err(doing), reference, insecure)
		}
		again := cluster.Retry{Attempt: attempt + 1, Of: mostAsks, Wait: pause, Err: failure.err(doing)}
		if err := c.cluster.Pause(ctx, again); err != nil {
			return Pull{}, fmt.Errorf("%s: %w", doing, err)
		}
		pause = min(2*pause, c.patience.Longest)
	}
}

// mostAsks bounds how often a registry that does not answer the cluster is tried.
const mostAsks = 4

// temporary leaves out what another try cannot mend: certificates, and http where https is spoken.
func (f *Failure) temporary() bool {
	switch f.Reason {
	case "Timeout", "ServerTimeout", "TooManyRequests", "ServiceUnavailable":
		return true
	}
	return f.Reason == "InternalError" && !f.insecure()
}

func (f *Failure) insecure() bool {
	return strings.Contains(f.Message, "x509:") || strings.Contains(f.Message, "server gave HTTP response to HTTPS client")
}

// hinted adds what can be done about a refusal on the cluster's side, where the fix differs from a step's own access.
func (c *Client) hinted(err error, reference string, insecure bool) error {
	host, _, _ := strings.Cut(reference, "/")
	switch kind := fault.KindOf(err); {
	case kind == fault.Denied:
		return fault.WithHint(err, fmt.Sprintf(
			"The cluster pulls with its own secrets: put one of type kubernetes.io/dockerconfigjson for %s into the namespace %s.",
			host, c.namespace))
	case kind == fault.Unavailable && !insecure && (&Failure{Message: err.Error()}).insecure():
		return fault.WithHint(err, fmt.Sprintf(
			"The cluster does not trust the certificate of %s: have its CA added to the cluster, or set IMPORT_INSECURE=true.", host))
	case kind == fault.Unavailable:
		return fault.WithHint(err, fmt.Sprintf("The cluster itself must be able to reach %s.", host))
	}
	return err
}

func readPull(answer *unstructured.Unstructured) (Pull, *Failure, error) {
	var fields struct {
		Status struct {
			Images []struct {
				Status struct {
					Status  string `json:"status"`
					Reason  string `json:"reason"`
					Message string `json:"message"`
				} `json:"status"`
				Image     *imageFields  `json:"image"`
				Manifests []imageFields `json:"manifests"`
			} `json:"images"`
		} `json:"status"`
	}
	if err := cluster.Decode(answer, &fields); err != nil {
		return Pull{}, nil, err
	}
	if len(fields.Status.Images) != 1 {
		return Pull{}, nil, fmt.Errorf("its answer tells of %d images instead of one", len(fields.Status.Images))
	}
	one := fields.Status.Images[0]
	if one.Status.Status == "Failure" {
		return Pull{}, &Failure{Reason: one.Status.Reason, Message: one.Status.Message, Since: time.Now()}, nil
	}
	if one.Image == nil || one.Image.Metadata.Name == "" {
		return Pull{}, nil, fmt.Errorf("its answer holds no image")
	}
	pull := one.Image.pull()
	if len(one.Manifests) > 0 && len(pull.Ports) == 0 { // of an index the API tells only digests
		first := one.Manifests[0].pull()
		pull.Ports, pull.Labels = first.Ports, first.Labels
	}
	return pull, nil, nil
}

// The import modes: how an index is imported.
const (
	PreserveOriginal = "PreserveOriginal" // as it is, with all its images
	Legacy           = "Legacy"           // one image of it, by default linux/amd64
)
