package image_test

import (
	"strings"
	"testing"

	"dockline/pkg/image"
)

// FuzzParse: what is taken for an image can be put behind a registry's host, and is read again as the same.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"deepsky/awl-deepsky-hello:1.0", "a/b", "a/b@sha256:aa", "user:password@host/a:1", "localhost/a:1",
		"registry.example:5000/a/b:1", "a//b:1", "A/b:1", "a/b:", "a/b:-1", "a__b/c.d-e:_", "../a:1",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := image.ParseName(text)
		if err != nil {
			return
		}
		if parsed.String() != text || strings.ContainsAny(parsed.Name, ":@?#% \\") || strings.Contains(parsed.Name, "..") ||
			strings.ContainsAny(parsed.Version, "/:@?#% ") || !strings.Contains(parsed.Name, "/") {
			t.Errorf("%q was read as %+v", text, parsed)
		}
		repository, version, digest := image.SplitReference("registry.example:5000/" + text)
		if repository != "registry.example:5000/"+parsed.Name || version != parsed.Version || digest != "" {
			t.Errorf("behind a host, %q was split into %q, %q, %q", text, repository, version, digest)
		}
		if again, err := image.Parse(parsed.String()); parsed.Version != "" && (err != nil || again != parsed) {
			t.Errorf("%q was read again as %+v, %v", text, again, err)
		}
	})
}

// FuzzSplitReference: nothing is lost or made up.
func FuzzSplitReference(f *testing.F) {
	f.Add("registry.example:5000/a/b:1.0@sha256:aa")
	f.Add("a:b/c@")
	f.Fuzz(func(t *testing.T, reference string) {
		repository, version, digest := image.SplitReference(reference)
		joined := repository
		if version != "" || strings.HasPrefix(strings.TrimPrefix(reference, repository), ":") {
			joined += ":" + version
		}
		if digest != "" || strings.Contains(reference, "@") {
			joined += "@" + digest
		}
		if joined != reference {
			t.Errorf("%q was split into %q, %q, %q", reference, repository, version, digest)
		}
	})
}
