package environment

import (
	"cmp"
	_ "embed"
	"errors"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/imagestream"
	"dockline/pkg/step"
	"dockline/pkg/workload"
)

// Source is the Go source text of Settings, for step.Program.
//
//go:embed settings.go
var Source string

// Settings say which environment it is.
type Settings struct {
	// Namespace of the environment.
	Namespace string `env:"NAMESPACE, required"`
	// Image stream tag of the environment, STREAM:TAG, such as hello-app:dev. retag makes it where it is missing. Either
	// this or WORKLOADS is set.
	StreamTag string `env:"STREAM_TAG"`
	// On a cluster without image streams: the workloads of the environment, KIND/NAME or KIND/NAME:CONTAINER, separated by
	// commas, such as deployment/hello-app,cronjob/report:job. The kind is deployment, statefulset, daemonset, cronjob or
	// deploymentconfig; the container, which may be an init container, is left out where there is only one.
	Workloads string `env:"WORKLOADS"`
}

// Validate returns all problems of the variables that are set.
func (s Settings) Validate() error {
	var problems []error
	if s.Namespace != "" && (len(s.Namespace) > 63 || !namespaceGrammar.MatchString(s.Namespace)) {
		problems = append(problems, step.Problem("NAMESPACE: %q is no namespace (lower-case letters, digits and -, at most 63)", s.Namespace))
	}
	if s.StreamTag != "" {
		if _, err := imagestream.ParseName(s.StreamTag); err != nil {
			problems = append(problems, step.Problem("STREAM_TAG: %w", err))
		}
	}
	return errors.Join(append(problems, s.validateWorkloads())...)
}

// validateWorkloads returns what is wrong with WORKLOADS, and with it beside STREAM_TAG.
func (s Settings) validateWorkloads() error {
	switch {
	case s.StreamTag == "" && s.Workloads == "":
		return step.Problem("STREAM_TAG is missing (or WORKLOADS, on a cluster without image streams)")
	case s.StreamTag != "" && s.Workloads != "":
		return step.Problem("STREAM_TAG and WORKLOADS are both set: set one of them")
	case s.Workloads == "":
		return nil
	}
	if _, err := workload.ParseNamed(s.Workloads); err != nil {
		return step.Problem("WORKLOADS: %w", err)
	}
	return nil
}

// StreamTagOrWorkloads returns the one that is set.
func (s Settings) StreamTagOrWorkloads() string { return cmp.Or(s.StreamTag, s.Workloads) }

// CheckDigest returns what is wrong with a variable that holds a digest or is empty.
func CheckDigest(variable, digest string) error {
	if digest == "" {
		return nil
	}
	if _, err := v1.NewHash(digest); err != nil {
		return step.Problem("%s is not a digest (sha256: and 64 hexadecimal digits)", variable)
	}
	return nil
}

var namespaceGrammar = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
