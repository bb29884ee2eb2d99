package kaniko

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// largestManifest bounds what is read into memory of a manifest or a configuration that a build wrote.
const largestManifest = 8 << 20

// OpenLayout opens the image that a build left as an OCI layout. What a RUN may have put there is not trusted: each
// blob must be a regular file, reached without a link, whose content has the digest by which it is named. The digest
// of the manifest comes from the child itself, or from whoever can vouch for it.
func OpenLayout(dir string, digest v1.Hash) (*Image, error) {
	blobs, err := os.OpenFile(dir, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, fault.New(fault.BuildFailed, "opening the built image: %w", err)
	}
	image, err := readLayout(blobs, digest)
	if err != nil {
		_ = blobs.Close()
		return nil, err
	}
	return &Image{Image: image, ManifestDigest: digest, files: blobs}, nil
}

func readLayout(blobs *os.File, digest v1.Hash) (v1.Image, error) {
	var err error
	image := &builtImage{dir: int(blobs.Fd())} //nolint:gosec // a descriptor
	if image.manifest, err = image.read(digest); err != nil {
		return nil, err
	}
	var manifest v1.Manifest
	if err := json.Unmarshal(image.manifest, &manifest); err != nil {
		return nil, fault.New(fault.Unexpected, "reading the built image's manifest: %w", err)
	}
	image.mediaType = manifest.MediaType
	if image.config, err = image.read(manifest.Config.Digest); err != nil {
		return nil, err
	}
	for _, layer := range manifest.Layers {
		if err := image.check(layer.Digest); err != nil {
			return nil, err
		}
	}
	image.layers = manifest.Layers
	return partial.CompressedToImage(image)
}

// Share lets every user read the image's files, and those for the cache; until then only root can, who built them.
func (i *Image) Share() error {
	for _, cached := range i.Cached {
		if err := cached.Image.Share(); err != nil {
			return err
		}
	}
	manifest, err := i.Manifest()
	if err != nil {
		return err
	}
	digests := []v1.Hash{i.ManifestDigest, manifest.Config.Digest}
	for _, layer := range manifest.Layers {
		digests = append(digests, layer.Digest)
	}
	files := &builtImage{dir: int(i.files.Fd())} //nolint:gosec // a descriptor
	for _, digest := range digests {
		file, err := files.open(digest)
		if err != nil {
			return err
		}
		if err := errors.Join(file.Chmod(0o644), file.Close()); err != nil { //nolint:gosec // what is pushed is no secret
			return fmt.Errorf("sharing the built image: %w", err)
		}
	}
	return nil
}

// Close releases the files of the image.
func (i *Image) Close() error {
	var problems []error
	for _, cached := range i.Cached {
		problems = append(problems, cached.Image.Close())
	}
	if i.work != "" {
		problems = append(problems, os.RemoveAll(i.work))
	}
	return errors.Join(append(problems, i.files.Close())...)
}

// cacheKey is what a key looks like.
var cacheKey = regexp.MustCompile(`^[0-9a-f]{64}$`)

// openCached opens what a build has left for the cache.
func (i *Image) openCached(dir string, entries []cachedDigest) error {
	for _, entry := range entries {
		digest, err := v1.NewHash(entry.Digest)
		if err != nil || !cacheKey.MatchString(entry.Key) {
			return fault.New(fault.Unexpected, "reading what the build has left for the cache: %q is under the key %q", entry.Digest, entry.Key)
		}
		image, err := OpenLayout(dir, digest)
		if err != nil {
			return err
		}
		i.Cached = append(i.Cached, Cached{entry.Key, digest, image})
	}
	return nil
}

// builtImage is a checked image in a layout: go-containerregistry's partial.CompressedImageCore.
type builtImage struct {
	dir              int // the layout, opened
	manifest, config []byte
	mediaType        types.MediaType
	layers           []v1.Descriptor
}

func (i *builtImage) RawManifest() ([]byte, error)        { return i.manifest, nil }
func (i *builtImage) RawConfigFile() ([]byte, error)      { return i.config, nil }
func (i *builtImage) MediaType() (types.MediaType, error) { return i.mediaType, nil }
func (i *builtImage) LayerByDigest(digest v1.Hash) (partial.CompressedLayer, error) {
	for _, layer := range i.layers {
		if layer.Digest == digest {
			return &builtLayer{image: i, Descriptor: layer}, nil
		}
	}
	return nil, fmt.Errorf("the image has no layer %s", digest)
}

type builtLayer struct {
	image *builtImage
	v1.Descriptor
}

func (l *builtLayer) Digest() (v1.Hash, error)            { return l.Descriptor.Digest, nil }
func (l *builtLayer) Size() (int64, error)                { return l.Descriptor.Size, nil }
func (l *builtLayer) MediaType() (types.MediaType, error) { return l.Descriptor.MediaType, nil }
func (l *builtLayer) Compressed() (io.ReadCloser, error)  { return l.image.open(l.Descriptor.Digest) }

// open opens a blob below the layout, without following a link anywhere on the way.
func (i *builtImage) open(digest v1.Hash) (*os.File, error) {
	path := "blobs/" + digest.Algorithm + "/" + digest.Hex
	fd, err := unix.Openat2(i.dir, path, &unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_CLOEXEC | unix.O_NONBLOCK, // no pipe may hold us up
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	})
	if err != nil {
		return nil, fault.New(fault.BuildFailed, "opening the built image's blob %s: %w", digest, err)
	}
	file := os.NewFile(uintptr(fd), path) //nolint:gosec // a descriptor is not negative here
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, fault.New(fault.BuildFailed, "opening the built image's blob %s: it is not a regular file", digest)
	}
	return file, nil
}

func (i *builtImage) read(digest v1.Hash) ([]byte, error) {
	file, err := i.open(digest)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, largestManifest))
	if err != nil {
		return nil, err
	}
	return content, same(digest, bytes.NewReader(content))
}

func (i *builtImage) check(digest v1.Hash) error {
	file, err := i.open(digest)
	if err != nil {
		return err
	}
	defer file.Close()
	return same(digest, file)
}

func same(digest v1.Hash, content io.Reader) error {
	hash := sha256.New()
	if _, err := io.Copy(hash, content); err != nil {
		return err
	}
	if got := hex.EncodeToString(hash.Sum(nil)); digest.Algorithm != "sha256" || got != digest.Hex {
		return fault.New(fault.BuildFailed, "checking the built image: the blob %s was changed (it is sha256:%s)", digest, got)
	}
	return nil
}
