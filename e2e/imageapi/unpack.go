package imageapi

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// The bounds of an image that is unpacked: far above what a demo runs, and below what fills a disk unnoticed.
const (
	maxUnpacked = 2 << 30
	maxEntries  = 200_000
)

// image returns the image of a reference for this machine's platform.
func (p *puller) image(ctx context.Context, ref name.Reference) (v1.Image, error) {
	brought, err := p.read(ctx, ref, false)
	if err != nil {
		return nil, err
	}
	return remote.Image(ref.Context().Digest(brought.digest), p.options...)
}

// unpack writes the files of an image below dir, which it makes. Nothing of the image can reach outside: os.Root
// refuses names and links that lead there. Devices and the like are left out.
func unpack(image v1.Image, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	flat := mutate.Extract(image) // the layers as one, deletions carried out
	defer flat.Close()
	return unpackTar(flat, root)
}

func unpackTar(from io.Reader, root *os.Root) error {
	reader, left := tar.NewReader(from), int64(maxUnpacked)
	for entries := 0; ; entries++ {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("reading the image's files: %w", err)
		}
		if left -= header.Size; left < 0 || entries > maxEntries {
			return errors.New("unpacking the image: it is too large")
		}
		if err := unpackEntry(root, header, reader); err != nil {
			return fmt.Errorf("unpacking %q: %w", header.Name, err)
		}
	}
	// What programs expect to be able to write to.
	if err := root.MkdirAll("tmp", 0o755); err != nil {
		return nil // the image has a file or a link there
	}
	return root.Chmod("tmp", 0o777|os.ModeSticky)
}

func unpackEntry(root *os.Root, header *tar.Header, content io.Reader) error {
	at := inside(header.Name)
	if at == "." {
		return nil
	}
	if err := root.MkdirAll(path.Dir(at), 0o755); err != nil {
		return err
	}
	mode := header.FileInfo().Mode().Perm()
	switch header.Typeflag {
	case tar.TypeDir:
		if err := root.Mkdir(at, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return root.Chmod(at, mode|0o700) // we have to get rid of it again
	case tar.TypeReg:
		_ = root.Remove(at) // a later layer's file takes the place of a link, rather than writing through it
		file, err := root.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close(), root.Chmod(at, mode))
	case tar.TypeSymlink:
		_ = root.Remove(at)
		return root.Symlink(header.Linkname, at)
	case tar.TypeLink:
		_ = root.Remove(at)
		return root.Link(inside(header.Linkname), at)
	}
	return nil
}

// inside makes a name of an archive relative; ".." at its beginning leads nowhere else than at the root of a machine.
func inside(name string) string {
	if name = strings.TrimPrefix(path.Clean("/"+name), "/"); name == "" {
		return "."
	}
	return name
}
