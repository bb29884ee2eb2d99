package clonebuildpush

import (
	"cmp"
	"context"
	"encoding/json"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// largestBase is the largest of these images for a platform, and how large its layers are, as they are pulled, each layer once.
// What cannot be found out counts as nothing: the build itself will say what is wrong with it.
func (p *puller) largestBase(ctx context.Context, images []string, platform string) (largest string, bytes int64) {
	wanted := platforms.Only(platforms.DefaultSpec())
	if parsed, err := platforms.Parse(platform); platform != "" && err == nil {
		wanted = platforms.Only(parsed)
	}
	for _, image := range images {
		reference, err := name.ParseReference(image)
		if err != nil {
			continue
		}
		layers := map[v1.Hash]int64{}
		p.addLayers(ctx, layers, reference.Context(), reference.Identifier(), wanted)
		var sum int64
		for _, size := range layers {
			sum += size
		}
		if sum > bytes {
			largest, bytes = image, sum
		}
	}
	return largest, bytes
}

// addLayers adds the layers that a manifest names, or, of an index, the manifest for the platform.
func (p *puller) addLayers(
	ctx context.Context, layers map[v1.Hash]int64, from name.Repository, reference string, wanted platforms.Matcher,
) {
	_, content, err := p.Manifest(ctx, from, reference)
	var manifest struct {
		Layers    []v1.Descriptor `json:"layers"`
		Manifests []v1.Descriptor `json:"manifests"`
	}
	if err != nil || json.Unmarshal(content, &manifest) != nil {
		return
	}
	for _, layer := range manifest.Layers {
		layers[layer.Digest] = max(layer.Size, 0)
	}
	for _, child := range manifest.Manifests {
		at := cmp.Or(child.Platform, &v1.Platform{})
		if !child.MediaType.IsImage() || !wanted.Match(platforms.Normalize(platforms.Platform{
			OS: at.OS, Architecture: at.Architecture, Variant: at.Variant,
		})) {
			continue
		}
		p.addLayers(ctx, layers, from, child.Digest.String(), wanted)
		return
	}
}
