// Package image knows the names of images: CODE/NAME:VERSION, as people write them and as every registry repeats them
// after its own host, and the tags that are made from branches, commits and replaced digests.
package image

import (
	"fmt"
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// Image is CODE/NAME:VERSION without a registry: the same image name holds in every registry.
type Image struct {
	Name    string // CODE/NAME: "deepsky/awl-deepsky-hello", two or more path components
	Version string // the tag: "1.0"; empty only when made by ParseName
}

// Parse reads CODE/NAME:VERSION. Its errors are of kind fault.Configuration.
func Parse(text string) (Image, error) {
	parsed, err := ParseName(text)
	if err != nil {
		return Image{}, err
	}
	if parsed.Version == "" {
		return Image{}, invalid(text, "the version is missing: CODE/NAME:VERSION is wanted")
	}
	return parsed, nil
}

// ParseName reads CODE/NAME or CODE/NAME:VERSION. Its errors are of kind fault.Configuration.
func ParseName(text string) (Image, error) {
	if before, after, found := strings.Cut(text, "@"); found {
		if strings.Contains(after, "@") || !digestGrammar.MatchString(after) || !strings.Contains(before, "/") {
			// What stands there may be a password: it is not repeated.
			return Image{}, fault.New(fault.Configuration, "reading the image: an account (before an \"@\") does not belong into its name")
		}
		return Image{}, invalid(text, "a digest does not belong into an image name")
	}
	name, version, versioned := strings.Cut(text, ":")
	first, rest, nested := strings.Cut(name, "/")
	switch {
	case looksLikeHost(first, rest != "", version):
		return Image{}, invalid(text, fmt.Sprintf(
			"%q looks like a registry's host, which is configured apart: CODE/NAME:VERSION is wanted", first))
	case !nested:
		return Image{}, invalid(text, "it has one part: CODE/NAME:VERSION is wanted")
	}
	if problem := nameProblem(name); problem != "" {
		return Image{}, invalid(text, problem)
	}
	if versioned {
		if err := CheckVersion(version); err != nil {
			return Image{}, invalid(text, err.Error())
		}
	}
	return Image{Name: name, Version: version}, nil
}

// String returns CODE/NAME:VERSION, or CODE/NAME without a version.
func (i Image) String() string {
	if i.Version == "" {
		return i.Name
	}
	return i.Name + ":" + i.Version
}

// DigestOf returns the digest at the end of an image reference or ID, or "".
func DigestOf(reference string) string {
	_, _, digest := SplitReference(reference)
	return digest
}

// SplitReference takes HOST/NAME:VERSION, HOST/NAME@DIGEST, or both at once, apart; what is missing is "". It checks
// nothing.
func SplitReference(reference string) (repository, version, digest string) {
	repository, digest, _ = strings.Cut(reference, "@")
	if colon := strings.LastIndex(repository, ":"); colon > strings.LastIndex(repository, "/") {
		repository, version = repository[:colon], repository[colon+1:]
	}
	return repository, version, digest
}

// CheckVersion says what is wrong with a version, by the distribution specification's grammar of tags ("Pulling
// manifests"): up to 128 letters, digits, "_", "." and "-", not led by "." or "-". Its errors are of kind
// fault.Configuration.
func CheckVersion(version string) error {
	if !tagGrammar.MatchString(version) {
		return fault.New(fault.Configuration,
			"%q is not a tag (1 to 128 letters, digits, \"_\", \".\", \"-\"; not first \".\" or \"-\")", short(version))
	}
	return nil
}

// CheckTarget is [CheckVersion] for a tag that is going to be written. Tags of the form sha256-HEX, with or without an
// ending such as .sig, are left to clients: there they keep the lists of what refers to an image (distribution
// specification, "Referrers Tag Schema"), and cosign its signatures.
func CheckTarget(version string) error {
	if err := CheckVersion(version); err != nil {
		return err
	}
	if reservedGrammar.MatchString(version) {
		return fault.New(fault.Configuration,
			"%q has the form of the tags under which registries' clients keep what belongs to an image, and no image", version)
	}
	return nil
}

// The distribution specification ("Pulling manifests") gives both grammars, and 255 as the length of HOST/NAME that
// clients commonly accept.
var (
	nameGrammar = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar  = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)

	// A digest of another algorithm is cut to 64 digits.
	reservedGrammar = regexp.MustCompile(`^sha(256|384|512)-[0-9a-f]{64}(\.[a-z0-9.]+)?$`)

	digestGrammar = regexp.MustCompile(`^[a-z0-9]+:[a-f0-9]+$`) // as far as it tells a digest from a host
)

const longestName = 255

// looksLikeHost follows docker's rule for the first component of a reference: a dot, a port or "localhost".
func looksLikeHost(first string, more bool, afterColon string) bool {
	if more {
		return strings.Contains(first, ".") && first != "." && first != ".." || first == "localhost"
	}
	return strings.Contains(afterColon, "/") // HOST:PORT/…
}

func nameProblem(name string) string {
	switch {
	case len(name) > longestName:
		return fmt.Sprintf("the name has %d characters, more than %d", len(name), longestName)
	case strings.ToLower(name) != name:
		return "upper case is not allowed in the name"
	case !nameGrammar.MatchString(name):
		return "each part of the name is of lower case letters and digits, with single \".\", \"_\", \"__\" or dashes between"
	}
	return ""
}

func invalid(text, problem string) error {
	return fault.New(fault.Configuration, "reading image %q: %s", short(text), problem)
}

// short keeps an absurdly long input from flooding a log.
func short(text string) string {
	if len(text) <= 300 {
		return text
	}
	return text[:300] + "…"
}
