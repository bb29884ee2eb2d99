// Package provenance says how an image was built, in the form of SLSA's provenance, version 1
// (https://slsa.dev/spec/v1.0/provenance).
package provenance

import (
	"net/url"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
)

const (
	// Type is the predicate's type.
	Type = "https://slsa.dev/provenance/v1"
	// BuildType says what the parameters mean: docs/building.md.
	BuildType = "https://dockline.example.com/build/v1"
	// Builder is who builds. What makes a builder known is the key that signs.
	Builder = "https://dockline.example.com/clone-build-push"
)

// Predicate is what is said.
type Predicate struct {
	BuildDefinition BuildDefinition `json:"buildDefinition"`
	RunDetails      RunDetails      `json:"runDetails"`
}

// BuildDefinition is what went into the build.
type BuildDefinition struct {
	BuildType            string     `json:"buildType"`
	ExternalParameters   Parameters `json:"externalParameters"`
	InternalParameters   Internal   `json:"internalParameters,omitzero"`
	ResolvedDependencies []Resource `json:"resolvedDependencies"`
}

// Parameters are what whoever starts a build decides.
type Parameters struct {
	Source       string            `json:"source,omitempty"`   // address of the project, without an account
	Revision     string            `json:"revision,omitempty"` // as it was asked for: a branch, a tag or a hash
	ContextDir   string            `json:"contextDir"`
	Dockerfile   string            `json:"dockerfile"`
	BuildArgs    map[string]string `json:"buildArgs,omitempty"` // known secrets masked
	Target       string            `json:"target,omitempty"`
	Platforms    []string          `json:"platforms"`
	Labels       map[string]string `json:"labels,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
	MediaTypes   string            `json:"mediaTypes,omitempty"` // "" for those of the base image
	Reproducible bool              `json:"reproducible,omitempty"`
	Secrets      []string          `json:"secrets,omitempty"`  // names
	Executor     string            `json:"executor,omitempty"` // path of another program that built
}

// Internal is what the builder decides, or is told by what runs it.
type Internal struct {
	BuildKey string `json:"buildKey,omitempty"` // of all that the image was built from
	Person   string `json:"person,omitempty"`   // who started the run
}

// Resource is something that the build took in.
type Resource struct {
	URI    string            `json:"uri"`
	Digest map[string]string `json:"digest"`
}

// RunDetails are those of this one run.
type RunDetails struct {
	Builder  BuilderID `json:"builder"`
	Metadata Metadata  `json:"metadata"`
}

// BuilderID is the program that built, with the versions of its parts.
type BuilderID struct {
	ID      string            `json:"id"`
	Version map[string]string `json:"version,omitempty"`
}

// Metadata tells of the run.
type Metadata struct {
	InvocationID string    `json:"invocationId,omitempty"` // address of the page that shows it
	StartedOn    time.Time `json:"startedOn,omitzero"`
	FinishedOn   time.Time `json:"finishedOn,omitzero"`
}

// Git is the resource of a commit of the repository at an address.
func Git(address, commit string) Resource {
	uri := address
	if strings.HasPrefix(uri, "http:") || strings.HasPrefix(uri, "https:") || strings.HasPrefix(uri, "ssh:") {
		uri = "git+" + uri // SPDX download location, as SLSA has it
	}
	return Resource{URI: uri, Digest: map[string]string{"gitCommit": commit}}
}

// Image is the resource of an image that is named as in a Dockerfile, and was found to have a digest ("sha256:…").
func Image(image, digest string) Resource {
	algorithm, hex, _ := strings.Cut(digest, ":")
	return Resource{URI: ImageURL(image), Digest: map[string]string{algorithm: hex}}
}

// ImageURL returns the package URL of an image (purl-spec, type "docker"): pkg:docker/CODE/NAME@TAG?repository_url=HOST.
func ImageURL(image string) string {
	reference, err := name.ParseReference(image)
	if err != nil {
		return image
	}
	at := reference.Context()
	text := "pkg:docker/" + at.RepositoryStr() + "@" + url.QueryEscape(reference.Identifier())
	if host := at.RegistryStr(); host != name.DefaultRegistry {
		text += "?repository_url=" + url.QueryEscape(host)
	}
	return text
}
