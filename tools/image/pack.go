package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// newImage makes an image of one layer for this machine's architecture. All files are root's and have one time.
func newImage(rootfs string, config v1.Config, when time.Time) (v1.Image, error) {
	archive, err := pack(rootfs, when)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(types.OCILayer), tarball.WithCompressionLevel(gzip.BestCompression), tarball.WithCompressedCaching)
	if err != nil {
		return nil, err
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	image, err = mutate.Append(image, mutate.Addendum{
		Layer: layer, History: v1.History{Created: v1.Time{Time: when}, CreatedBy: "COPY " + rootfsFolder + " /"},
	})
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture, file.Created, file.Config = "linux", runtime.GOARCH, v1.Time{Time: when}, config
	return mutate.ConfigFile(image, file)
}

// pack archives a folder, in the order of the names.
func pack(rootfs string, when time.Time) ([]byte, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	err := filepath.WalkDir(rootfs, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || path == rootfs {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(rootfs, path)
		if err != nil {
			return err
		}
		return add(archive, path, filepath.ToSlash(inside), info, when)
	})
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	if out.Len() <= 1024 { // an archive's end
		return nil, errors.New("it is empty")
	}
	return out.Bytes(), nil
}

// add writes one entry: nothing of who made the file, and when, goes in.
func add(archive *tar.Writer, path, inside string, info fs.FileInfo, when time.Time) error {
	header := &tar.Header{Name: inside, ModTime: when, Mode: int64(info.Mode().Perm())}
	if info.Mode()&fs.ModeSticky != 0 {
		header.Mode |= 0o1000
	}
	switch {
	case info.IsDir():
		header.Typeflag, header.Name = tar.TypeDir, inside+"/"
		return archive.WriteHeader(header)
	case info.Mode()&fs.ModeSymlink != 0:
		target, err := os.Readlink(path)
		if err != nil {
			return err
		}
		header.Typeflag, header.Linkname, header.Mode = tar.TypeSymlink, target, 0o777
		return archive.WriteHeader(header)
	case info.Mode().IsRegular() && info.Mode()&(fs.ModeSetuid|fs.ModeSetgid) == 0:
		content, err := os.ReadFile(path) //nolint:gosec // below the root file system
		if err != nil {
			return err
		}
		if err := static(content); err != nil {
			return fmt.Errorf("%s: %w", inside, err)
		}
		header.Typeflag, header.Size = tar.TypeReg, int64(len(content))
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(content)
		return err
	default:
		return fmt.Errorf("%s: a file of mode %s does not belong into the image", inside, info.Mode())
	}
}

// static refuses a program that needs a library: the image has none.
func static(content []byte) error {
	program, err := elf.NewFile(bytes.NewReader(content))
	if err != nil {
		return nil //nolint:nilerr // no program
	}
	for _, segment := range program.Progs {
		if segment.Type == elf.PT_INTERP {
			return errors.New("the program is not static")
		}
	}
	return nil
}
