package registry

import (
	"context"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// PutBlob has the repository hold one blob of a source. What is there already is not sent. It is for what is no image;
// [Copy] is for images.
func (r *Repository) PutBlob(ctx context.Context, from Source, blob v1.Descriptor) error {
	there, err := r.hasBlob(ctx, blob)
	if err != nil || there {
		return err
	}
	_, err = r.upload(ctx, blob, func(ctx context.Context) (io.ReadCloser, error) { return from.Blob(ctx, blob) }, nil)
	return err
}
