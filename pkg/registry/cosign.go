package registry

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// Tagged is a tag and what it holds.
type Tagged struct {
	Tag      string
	Manifest Manifest
}

// CosignTags returns those of cosign's tags for a manifest that are there: "sha256-<hex>" with ".sig" (signatures),
// ".att" (attestations) and ".sbom", in this order. As in [Repository.Lookup], every doubt is an error.
func (r *Repository) CosignTags(ctx context.Context, digest v1.Hash) ([]Tagged, error) {
	endings := []string{".sig", ".att", ".sbom"}
	found, present := make([]Manifest, len(endings)), make([]bool, len(endings))
	group, groupContext := errgroup.WithContext(ctx)
	for i, ending := range endings {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			found[i], present[i], err = r.Lookup(groupContext, cosignTag(digest, ending))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []Tagged
	for i, ending := range endings {
		if present[i] {
			all = append(all, Tagged{Tag: cosignTag(digest, ending), Manifest: found[i]})
		}
	}
	return all, nil
}

func cosignTag(digest v1.Hash, ending string) string {
	return digest.Algorithm + "-" + digest.Hex + ending
}
