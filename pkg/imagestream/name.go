// Package imagestream reads and moves the tags of OpenShift image streams, and waits until the cluster has imported
// what they point at.
//
// The rules are those of openshift-apiserver and openshift-controller-manager: a write of a tag's spec raises its
// generation, the import that follows raises it again, and is done when the tag's newest image, or the condition that
// says why there is none, carries that generation.
package imagestream

import (
	"regexp"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/image"
)

// Name is a stream tag, STREAM:TAG.
type Name struct{ Stream, Tag string }

// ParseName reads STREAM:TAG, such as "hello-app:dev". Its errors are of kind fault.Configuration.
func ParseName(text string) (Name, error) {
	stream, tag, found := strings.Cut(text, ":")
	switch {
	case !found || tag == "" || stream == "":
		return Name{}, fault.New(fault.Configuration, "%q is no stream tag: STREAM:TAG is wanted, such as hello-app:dev", text)
	case len(stream) > longestStream || !streamGrammar.MatchString(stream):
		return Name{}, fault.New(fault.Configuration,
			"stream tag %q: %q is no image stream's name (lower-case letters and digits, parted by . _ or -)", text, stream)
	case image.CheckVersion(tag) != nil:
		return Name{}, fault.New(fault.Configuration,
			"stream tag %q: %q is no tag (letters, digits, _ . and -, at most 128)", text, tag)
	}
	return Name{Stream: stream, Tag: tag}, nil
}

// String returns STREAM:TAG.
func (n Name) String() string { return n.Stream + ":" + n.Tag }

// longestStream is the longest name of an object (RFC 1123 subdomain).
const longestStream = 253

// A stream's name is a path component of the OCI distribution specification, since the internal registry serves
// NAMESPACE/STREAM. (The tag is that specification's <reference>.)
var streamGrammar = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$`)
