package promote

import (
	"errors"
	"io"
	"os"
	"strings"
	"unicode"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/image"
	"dockline/pkg/step"
)

// order is one image that is to be promoted, as it was asked for.
type order struct {
	image  image.Image // in the source registry
	digest string      // the very image, "sha256:…"; "" for what the version stands for
	tag    string      // in the target registry
}

const (
	// mostImages bounds a set. It is far above what one release holds, and keeps a wrong file from being promoted.
	mostImages = 1000
	// largestList is what mostImages of the longest names have.
	largestList = 1 << 20
)

// orders returns what IMAGE, IMAGES or IMAGES_FILE, of which one is set, asks for, and all problems with it at once. It
// is read once: a pipe can be read no second time, and a file may be another one by then.
func (c *Config) orders() ([]order, error) {
	if c.asked == nil {
		asked, err := c.readOrders()
		if err != nil {
			return asked, err
		}
		c.asked = asked
	}
	return c.asked, nil
}

func (c *Config) readOrders() ([]order, error) {
	given := 0
	for _, value := range []string{c.Image, c.Images, c.ImagesFile} {
		if value != "" {
			given++
		}
	}
	switch {
	case given == 0:
		return nil, step.Problem("IMAGE is missing")
	case given > 1:
		return nil, step.Problem("IMAGE, IMAGES and IMAGES_FILE: more than one is set, set one of them")
	case c.Image != "":
		return c.single()
	case c.Images != "":
		return c.several("IMAGES", c.Images)
	}
	list, err := readList(c.ImagesFile)
	if err != nil {
		return nil, step.Problem("IMAGES_FILE: %w", err)
	}
	return c.several("IMAGES_FILE", list)
}

func (c *Config) single() ([]order, error) {
	parsed, err := image.Parse(c.Image)
	if err != nil {
		return nil, step.Problem("IMAGE: %w", err)
	}
	one := order{image: parsed, digest: c.Digest, tag: parsed.Version}
	if c.ReleaseVersion != "" {
		one.tag = c.ReleaseVersion
	}
	if err := image.CheckTarget(one.tag); err != nil && c.ReleaseVersion == "" {
		return nil, step.Problem("IMAGE: %w", err)
	}
	return []order{one}, nil
}

// several reads a list: entries that are separated by commas or white space, and comments from "#" to the line's end.
func (c *Config) several(variable, list string) ([]order, error) {
	var entries []string
	for line := range strings.Lines(list) {
		line, _, _ = strings.Cut(line, "#")
		entries = append(entries, strings.FieldsFunc(line, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })...)
	}
	switch {
	case len(entries) == 0:
		return nil, step.Problem("%s names no image", variable)
	case len(entries) > mostImages:
		return nil, step.Problem("%s names %d images, more than %d", variable, len(entries), mostImages)
	}
	var (
		all      []order
		problems []error
		targets  = map[string]bool{}
	)
	for _, entry := range entries {
		one, err := c.entry(entry)
		target := one.image.Name + ":" + one.tag
		switch {
		case err != nil:
			problems = append(problems, step.Problem("%s: %w", variable, err))
		case targets[target]:
			problems = append(problems, step.Problem("%s: %q would be written twice", variable, target))
		}
		targets[target] = true
		all = append(all, one)
	}
	return all, errors.Join(problems...)
}

// entry reads CODE/NAME:VERSION[@DIGEST][=RELEASE_VERSION]. Neither sign can be part of what stands around it.
func (c *Config) entry(text string) (order, error) {
	text, release, released := strings.Cut(text, "=")
	name, digest, exact := strings.Cut(text, "@")
	if exact {
		if _, err := v1.NewHash(digest); err != nil {
			name, digest = text, "" // an account, perhaps: image.Parse says so, and does not repeat it
		}
	}
	parsed, err := image.Parse(name)
	if err != nil {
		return order{}, err
	}
	one := order{image: parsed, digest: digest, tag: parsed.Version}
	switch {
	case released && c.ReleaseVersion != "":
		return order{}, step.Problem("%q has a release version of its own, and RELEASE_VERSION is set: leave one of them out", parsed)
	case released:
		one.tag = release
	case c.ReleaseVersion != "":
		one.tag = c.ReleaseVersion
	}
	return one, image.CheckTarget(one.tag)
}

func readList(path string) (string, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the user's setting
	if err != nil {
		return "", err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, largestList+1))
	switch {
	case err != nil:
		return "", err
	case len(content) > largestList:
		return "", step.Problem("%q is larger than 1 MiB", path)
	}
	return strings.TrimPrefix(string(content), "\ufeff"), nil // as some editors begin a file
}
