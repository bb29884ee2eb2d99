package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// layer is random bytes in gzip's form, as layers are; the same ones for the same seed, made as they are read.
type layer struct {
	seed           uint64
	bytes          int64 // before gzip
	size           int64
	digest, diffID v1.Hash
}

func newLayer(seed uint64, bytes int64) (*layer, error) {
	l := &layer{seed: seed, bytes: bytes}
	zipped, plain := sha256.New(), sha256.New()
	if err := l.write(io.MultiWriter(zipped, (*length)(&l.size)), plain); err != nil {
		return nil, err
	}
	l.digest = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(zipped.Sum(nil))}
	l.diffID = v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(plain.Sum(nil))}
	return l, nil
}

// write writes the layer, and what is in it.
func (l *layer) write(zipped, plain io.Writer) error {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], l.seed)
	gzipped, err := gzip.NewWriterLevel(zipped, gzip.NoCompression) // random bytes have no smaller form
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.MultiWriter(gzipped, plain), io.LimitReader(rand.NewChaCha8(seed), l.bytes)); err != nil {
		return err
	}
	return gzipped.Close()
}

type length int64

func (l *length) Write(p []byte) (int, error) {
	*l += length(len(p))
	return len(p), nil
}

func (l *layer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *layer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *layer) Size() (int64, error)                { return l.size, nil }
func (l *layer) MediaType() (types.MediaType, error) { return types.OCILayer, nil }

func (l *layer) Compressed() (io.ReadCloser, error) {
	return l.read(func(w io.Writer) error { return l.write(w, io.Discard) }), nil
}

func (l *layer) Uncompressed() (io.ReadCloser, error) {
	return l.read(func(w io.Writer) error { return l.write(io.Discard, w) }), nil
}

func (l *layer) read(write func(io.Writer) error) io.ReadCloser {
	reader, writer := io.Pipe()
	go func() { _ = writer.CloseWithError(write(writer)) }()
	return reader
}

// random makes an image of layers with the seeds from first on.
func random(first uint64, layers int, size int64) (v1.Image, error) {
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	return more(image, first, layers, size)
}

// more adds layers to an image.
func more(image v1.Image, first uint64, layers int, size int64) (v1.Image, error) {
	for i := range layers {
		one, err := newLayer(first+uint64(i), size) //nolint:gosec // never negative
		if err != nil {
			return nil, err
		}
		if image, err = mutate.AppendLayers(image, one); err != nil {
			return nil, err
		}
	}
	return image, nil
}

// fill writes images, by NAME:TAG, into a registry that lets everybody in.
func fill(ctx context.Context, address string, images map[string]v1.Image) error {
	for at, image := range images {
		reference, err := name.ParseReference(address+"/"+at, name.Insecure)
		if err != nil {
			return err
		}
		if err := remote.Write(reference, image, remote.WithContext(ctx), remote.WithJobs(8)); err != nil {
			return err
		}
	}
	return nil
}

// arrived looks into a registry's files: each image's tag must hold it, and all that it names must be there.
func arrived(root string, images map[string]v1.Image) error {
	for at, image := range images {
		reference, err := name.NewTag(at)
		if err != nil {
			return err
		}
		files := filepath.Join(root, "docker", "registry", "v2", "repositories", reference.RepositoryStr())
		digest, err := image.Digest()
		if err != nil {
			return err
		}
		held, err := os.ReadFile(filepath.Join(files, "_manifests", "tags", reference.TagStr(), "current", "link"))
		if err != nil || string(bytes.TrimSpace(held)) != digest.String() {
			return fmt.Errorf("the tag %s holds %q, not %s", at, held, digest)
		}
		manifest, err := image.Manifest()
		if err != nil {
			return err
		}
		for _, blob := range append(manifest.Layers, manifest.Config) {
			data := filepath.Join(root, "docker", "registry", "v2", "blobs", "sha256", blob.Digest.Hex[:2], blob.Digest.Hex, "data")
			there, err := os.Stat(data)
			_, linked := os.Stat(filepath.Join(files, "_layers", "sha256", blob.Digest.Hex, "link"))
			if err := errors.Join(err, linked); err != nil {
				return err
			}
			if there.Size() != blob.Size {
				return fmt.Errorf("blob %s of %s has %d bytes, not %d", blob.Digest, at, there.Size(), blob.Size)
			}
		}
	}
	return nil
}
