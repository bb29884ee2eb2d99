package provenance_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/provenance"
)

func TestResources(t *testing.T) {
	t.Parallel()
	for image, want := range map[string]string{
		"alpine":                              "pkg:docker/library/alpine@latest",
		"alpine:3.20":                         "pkg:docker/library/alpine@3.20",
		"registry.example.com:5000/a/b:1":     "pkg:docker/a/b@1?repository_url=registry.example.com%3A5000",
		"ghcr.io/a/b@sha256:" + hex:           "pkg:docker/a/b@sha256%3A" + hex + "?repository_url=ghcr.io",
		"ghcr.io/a/b:1@sha256:" + hex:         "pkg:docker/a/b@sha256%3A" + hex + "?repository_url=ghcr.io",
		"what cannot be the name of an image": "what cannot be the name of an image",
	} {
		if got := provenance.ImageURL(image); got != want {
			t.Errorf("%q is %q, want %q", image, got, want)
		}
	}
	want := provenance.Resource{URI: "pkg:docker/library/alpine@3.20", Digest: map[string]string{"sha256": hex}}
	if diff := cmp.Diff(want, provenance.Image("alpine:3.20", "sha256:"+hex)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for address, want := range map[string]string{
		"https://git.example.com/x.git": "git+https://git.example.com/x.git", "ssh://git@h/x": "git+ssh://git@h/x", "git@h:x.git": "git@h:x.git", "": "",
	} {
		if got := provenance.Git(address, "c0ffee"); got.URI != want || got.Digest["gitCommit"] != "c0ffee" {
			t.Errorf("%q is %+v, want %q", address, got, want)
		}
	}
}

const hex = "4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a"
