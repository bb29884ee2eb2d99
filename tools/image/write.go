package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const layoutFolder = "oci"

// refName is the annotation by which other tools find an image in a layout (OCI image specification, annotations).
const refName = "org.opencontainers.image.ref.name"

// packed says what was written, and where.
type packed struct {
	layout, archive string
	digest, id      v1.Hash // of the manifest, and of the configuration, by which an engine knows the image
	size            int64   // of the layers, compressed
}

// writeImage puts the image into a folder: as an OCI layout, and as an archive for `docker load`.
func writeImage(out string, tag name.Tag, image v1.Image) (packed, error) {
	written := packed{layout: filepath.Join(out, layoutFolder), archive: filepath.Join(out, "image.tar")}
	manifest, err := image.Manifest()
	if err != nil {
		return packed{}, err
	}
	written.id = manifest.Config.Digest
	for _, layer := range manifest.Layers {
		written.size += layer.Size
	}
	if written.digest, err = image.Digest(); err != nil {
		return packed{}, err
	}
	if err := os.RemoveAll(written.layout); err != nil {
		return packed{}, err
	}
	files, err := layout.Write(written.layout, empty.Index)
	if err != nil {
		return packed{}, err
	}
	if err := files.WriteImage(image); err != nil {
		return packed{}, err
	}
	size, err := image.Size()
	if err != nil {
		return packed{}, err
	}
	if err := files.AppendDescriptor(v1.Descriptor{
		MediaType: manifest.MediaType, Digest: written.digest, Size: size,
		Annotations: map[string]string{refName: tag.TagStr()},
		Platform:    &v1.Platform{OS: "linux", Architecture: runtime.GOARCH},
	}); err != nil {
		return packed{}, err
	}
	return written, tarball.WriteToFile(written.archive, tag, image)
}

// attach adds a file to the image of a layout, as a manifest whose subject is the image (OCI 1.1 referrers): the image
// stays as it is. It returns the manifest's digest.
func attach(path, file, mediaType string) (v1.Hash, error) {
	files, err := layout.FromPath(path)
	if err != nil {
		return v1.Hash{}, err
	}
	subject, err := subjectOf(files)
	if err != nil {
		return v1.Hash{}, err
	}
	content, err := os.ReadFile(file) //nolint:gosec // the caller's own
	if err != nil {
		return v1.Hash{}, err
	}
	nothing := []byte("{}") // the specification's empty configuration
	manifest := v1.Manifest{
		SchemaVersion: 2, MediaType: types.OCIManifestSchema1, ArtifactType: mediaType,
		Config:  describe(nothing, "application/vnd.oci.empty.v1+json"),
		Layers:  []v1.Descriptor{describe(content, types.MediaType(mediaType))},
		Subject: &v1.Descriptor{MediaType: subject.MediaType, Digest: subject.Digest, Size: subject.Size},
	}
	manifest.Layers[0].Annotations = map[string]string{"org.opencontainers.image.title": filepath.Base(file)}
	text, err := json.Marshal(manifest)
	if err != nil {
		return v1.Hash{}, err
	}
	for _, blob := range [][]byte{nothing, content, text} {
		if err := files.WriteBlob(describe(blob, "").Digest, io.NopCloser(bytes.NewReader(blob))); err != nil {
			return v1.Hash{}, err
		}
	}
	described := describe(text, types.OCIManifestSchema1)
	described.ArtifactType = mediaType
	return described.Digest, files.AppendDescriptor(described)
}

// subjectOf finds the image in a layout: what is attached to it has no name.
func subjectOf(files layout.Path) (v1.Descriptor, error) {
	index, err := files.ImageIndex()
	if err != nil {
		return v1.Descriptor{}, err
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return v1.Descriptor{}, err
	}
	for _, described := range manifest.Manifests {
		if described.Annotations[refName] != "" {
			return described, nil
		}
	}
	return v1.Descriptor{}, errors.New("the layout holds no image")
}

func describe(content []byte, mediaType types.MediaType) v1.Descriptor {
	digest, size, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		panic(fmt.Sprintf("hashing what is in memory: %v", err))
	}
	return v1.Descriptor{MediaType: mediaType, Digest: digest, Size: size}
}
