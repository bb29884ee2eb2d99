package clonebuildpush

import (
	"runtime"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/pkg/registry"
)

// TestLargestBase sums up the layers of the largest image, and of an index the platform's alone.
func TestLargestBase(t *testing.T) {
	t.Parallel()
	host := startRegistry(t)
	at := func(tag string) name.Reference {
		reference, err := name.ParseReference(host+"/base/go:"+tag, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		return reference
	}
	layered := func(layers int64) (v1.Image, int64) {
		image, err := random.Image(1000, layers)
		if err != nil {
			t.Fatal(err)
		}
		manifest, err := image.Manifest()
		if err != nil {
			t.Fatal(err)
		}
		var sum int64
		for _, layer := range manifest.Layers {
			sum += layer.Size
		}
		return image, sum
	}
	ours, size := layered(2)
	other, otherSize := layered(5)
	index := mutate.AppendManifests(empty.Index,
		mutate.IndexAddendum{Add: other, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: "s390x"}}},
		mutate.IndexAddendum{Add: ours, Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: runtime.GOARCH}}})
	for _, err := range []error{
		remote.Write(at("image"), ours, account), remote.WriteIndex(at("index"), index, account),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	image, many := host+"/base/go:image", host+"/base/go:index"
	pull, err := newPuller(t.Context(), registry.Config{
		Address: host, Username: "pusher", Password: registryPassword, Insecure: true,
	}, mirrors{}, []string{image, many}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		images   []string
		platform string
		want     int64
		largest  string
	}{
		"an image":                          {[]string{image}, "", size, image},
		"an index":                          {[]string{many}, "", size, many},
		"an index, for another platform":    {[]string{many}, "linux/s390x", otherSize, many},
		"an index without the platform":     {[]string{many}, "linux/riscv64", 0, ""},
		"the same layers by two names":      {[]string{image, many}, "", size, image},
		"two, of which one is larger":       {[]string{image, many}, "linux/s390x", otherSize, many},
		"none":                              {nil, "", 0, ""},
		"one that is not there, and is not": {[]string{host + "/base/go:none", "!"}, "", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if largest, got := pull.largestBase(t.Context(), row.images, row.platform); got != row.want || largest != row.largest {
				t.Errorf("got %q of %d, want %q of %d", largest, got, row.largest, row.want)
			}
		})
	}
}
