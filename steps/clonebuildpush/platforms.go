package clonebuildpush

import (
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/step"
)

// platforms are those that are built for, in their usual form: PLATFORMS, PLATFORM or this machine's.
func (c *Config) platforms() []string {
	if len(c.Platforms) == 0 {
		return []string{orOwnPlatform(c.Platform)}
	}
	var all []string
	for _, one := range c.Platforms {
		all = append(all, orOwnPlatform(strings.TrimSpace(one)))
	}
	return all
}

// orOwnPlatform is a platform in its usual form; this machine's for "".
func orOwnPlatform(text string) string {
	own := platforms.DefaultSpec()
	own.Variant = "" // of amd64 or arm64, which images do not say
	if text == "" {
		return platforms.Format(own)
	}
	parsed, err := platforms.Parse(text)
	if err != nil {
		return text // Validate has refused it
	}
	return platforms.Format(platforms.Normalize(parsed))
}

// validatePlatforms returns what is wrong with PLATFORM and PLATFORMS.
func (c *Config) validatePlatforms() []error {
	var problems []error
	check := func(variable, text string) {
		if _, err := platforms.Parse(text); err != nil {
			problems = append(problems, step.Problem("%s: %w", variable, err))
		}
	}
	if c.Platform != "" {
		check("PLATFORM", c.Platform)
	}
	for _, one := range c.Platforms {
		check("PLATFORMS", strings.TrimSpace(one))
	}
	if c.Platform != "" && len(c.Platforms) > 0 {
		problems = append(problems, step.Problem("PLATFORM and PLATFORMS are both set: set one of them"))
	}
	if all := c.platforms(); len(problems) == 0 {
		for i, one := range all {
			if slices.Contains(all[:i], one) {
				problems = append(problems, step.Problem("PLATFORMS names %q twice", one))
			}
		}
	}
	return problems
}

// covers tells whether an image for some platforms is one for all that are wanted. An image that says nothing of its
// platform is taken for one.
func covers(has, wanted []string) bool {
	if len(has) == 0 {
		return true
	}
	for _, one := range wanted {
		spec, err := platforms.Parse(one)
		if err != nil {
			return false
		}
		matches := platforms.NewMatcher(spec).Match
		if !slices.ContainsFunc(has, func(text string) bool {
			platform, err := platforms.Parse(text)
			return err == nil && matches(platform)
		}) {
			return false
		}
	}
	return true
}

// platformImage is the image of one platform.
type platformImage struct {
	platform string
	v1.Image
}

// indexOf joins images into an index, in their order, with annotations.
func indexOf(images []platformImage, annotations map[string]string) (v1.ImageIndex, error) {
	var index v1.ImageIndex = empty.Index
	for _, one := range images {
		platform, err := v1.ParsePlatform(one.platform)
		if err != nil {
			return nil, fmt.Errorf("reading the platform %q: %w", one.platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{
			Add: one.Image, Descriptor: v1.Descriptor{Platform: platform},
		})
	}
	annotated, ok := mutate.Annotations(mutate.IndexMediaType(index, types.OCIImageIndex), annotations).(v1.ImageIndex)
	if !ok {
		return nil, fmt.Errorf("annotating the index: it is none any more")
	}
	return annotated, nil
}

// annotationLabels are the labels that an index says of its images too, for who reads no further.
var annotationLabels = []string{labelRevision, labelSource, labelVersion, labelCreated, labelTitle}

func annotations(labels map[string]string) map[string]string {
	told := map[string]string{}
	for _, label := range annotationLabels {
		if value := labels[label]; value != "" {
			told[label] = value
		}
	}
	return told
}
