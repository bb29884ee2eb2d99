package registry

import (
	"context"
	"errors"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
)

// FromImage makes a source of an image or an index that is not in a registry, such as one read from an OCI layout.
// Its digest is what [Copy] is given as root.
func FromImage(image interface {
	partial.WithRawManifest
	MediaType() (types.MediaType, error)
},
) Source {
	return &local{root: image}
}

// local finds manifests and blobs below an image or an index. Both are few, so each is looked for from the root.
type local struct{ root partial.WithRawManifest }

// Manifest implements Source.
func (l *local) Manifest(_ context.Context, digest v1.Hash) (Manifest, error) {
	var found Manifest
	_, err := each(l.root, func(one partial.WithRawManifest) (bool, error) {
		raw, err := one.RawManifest()
		if err != nil {
			return false, err
		}
		mediaType, err := one.(mediaTyped).MediaType()
		if err != nil {
			return false, err
		}
		found, err = readManifest(raw, string(mediaType))
		return found.Digest == digest, err
	})
	if err == nil && found.Digest != digest {
		err = fault.New(fault.NotFound, "the manifest is not there")
	}
	if err != nil {
		return Manifest{}, fault.New(fault.KindOf(err), "reading manifest %q of the local image: %w", digest, err)
	}
	return found, nil
}

// Blob implements Source.
func (l *local) Blob(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error) {
	var content io.ReadCloser
	_, err := each(l.root, func(one partial.WithRawManifest) (bool, error) {
		image, ok := one.(v1.Image)
		if !ok {
			return false, nil
		}
		if config, err := image.ConfigName(); err != nil || config == blob.Digest {
			if err != nil {
				return false, err
			}
			layer, err := partial.ConfigLayer(image)
			if err != nil {
				return false, err
			}
			content, err = layer.Compressed()
			return true, err
		}
		layer, err := image.LayerByDigest(blob.Digest)
		if err != nil {
			return false, nil //nolint:nilerr // another platform's
		}
		content, err = layer.Compressed()
		return true, err
	})
	if err == nil && content == nil {
		err = fault.New(fault.NotFound, "the blob is not there")
	}
	if err != nil {
		return nil, localError(blob, err)
	}
	return &localBlob{ReadCloser: content, ctx: ctx, expected: expect(blob)}, nil
}

func localError(blob v1.Descriptor, err error) error {
	return fault.New(fault.KindOf(err), "reading blob %q of the local image: %w", blob.Digest, err)
}

// localBlob is a blob as Source promises it: its file may have changed since the image was made.
type localBlob struct {
	io.ReadCloser
	ctx context.Context //nolint:containedctx // a reader's Read has no other way to get it
	expected
}

func (b *localBlob) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, localError(b.blob, b.ctx.Err())
	}
	n, err := b.ReadCloser.Read(p)
	if n, err = b.check(p[:n], err); err != nil && !errors.Is(err, io.EOF) {
		err = localError(b.blob, err)
	}
	return n, err
}

type mediaTyped interface {
	MediaType() (types.MediaType, error)
}

// each visits an image, or an index and all below it, until visit returns true.
func each(from partial.WithRawManifest, visit func(partial.WithRawManifest) (bool, error)) (bool, error) {
	if done, err := visit(from); done || err != nil {
		return done, err
	}
	index, ok := from.(v1.ImageIndex)
	if !ok {
		return false, nil
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return false, err
	}
	for _, child := range manifest.Manifests {
		var below partial.WithRawManifest
		switch {
		case child.MediaType.IsIndex():
			below, err = index.ImageIndex(child.Digest)
		default:
			below, err = index.Image(child.Digest)
		}
		if err != nil {
			return false, err
		}
		if done, err := each(below, visit); done || err != nil {
			return done, err
		}
	}
	return false, nil
}
