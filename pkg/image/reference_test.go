package image_test

import (
	"strings"
	"testing"

	"dockline/pkg/image"
)

// FuzzReference: what is taken for an image can be put behind a registry's host, and taken from it again.
func FuzzReference(f *testing.F) {
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
		repository, version, digest := image.SplitReference("registry.example:5000/" + parsed.String())
		if repository != "registry.example:5000/"+parsed.Name || version != parsed.Version || digest != "" {
			t.Errorf("behind a host, %q was split into %q, %q, %q", text, repository, version, digest)
		}
		tag, err := image.Template("{version}-replaced-{digest8}").Expand(parsed.Version, "sha256:"+strings.Repeat("a", 64))
		if err == nil && image.CheckVersion(tag) != nil {
			t.Errorf("%q is backed up as %q, which is not a tag", text, tag)
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
