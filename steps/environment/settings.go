package environment

import (
	_ "embed"
	"errors"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/imagestream"
	"dockline/pkg/step"
)

// Source is the Go source text of Settings, for step.Program.
//
//go:embed settings.go
var Source string

// Settings say which environment it is.
type Settings struct {
	// Namespace of the environment.
	Namespace string `env:"NAMESPACE, required"`
	// Image stream tag of the environment, STREAM:TAG, such as hello-app:dev. retag makes it where it is missing.
	StreamTag string `env:"STREAM_TAG, required"`
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
	return errors.Join(problems...)
}

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
