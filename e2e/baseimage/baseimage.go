// Package baseimage packs small base images from static programs, without an engine and without the network: what the
// demo's services, and the tests' Dockerfiles, are built FROM. All files are root's, since a user namespace with one
// mapped user can own no others.
package baseimage

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// File is one file of an image.
type File struct {
	Path    string // absolute
	Mode    int64  // permission bits; 0 means 0755
	Content []byte
}

// Web is the base image of the sample service: the programs serve and stamp, and the least that an image needs.
func Web(ctx context.Context) (v1.Image, error) {
	var files []File
	for _, name := range []string{"serve", "stamp"} {
		program, err := Program(ctx, "dockline/e2e/baseimage/"+name)
		if err != nil {
			return nil, err
		}
		files = append(files, File{Path: "/bin/" + name, Content: program})
	}
	return Pack(append(files, File{Path: "/srv/version.txt", Mode: 0o644, Content: []byte("none\n")})...)
}

// Program compiles the package of a main program, static, and returns the executable.
func Program(ctx context.Context, pkg string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "program")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "program")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", out, pkg)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compiling %q: %w: %s", pkg, err, text)
	}
	return os.ReadFile(out)
}

// epoch is the time of all files: the same files make the same image.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// Pack makes an image of one layer for this machine's architecture from the files, their directories, /tmp and an
// /etc/passwd that knows root.
func Pack(files ...File) (v1.Image, error) {
	files = append(slices.Clone(files), File{
		Path: "/etc/passwd", Mode: 0o644, Content: []byte("root:x:0:0:root:/root:/bin/sh\n"),
	})
	archive, err := pack(files)
	if err != nil {
		return nil, fmt.Errorf("packing an image: %w", err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(archive)), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, fmt.Errorf("packing an image: %w", err)
	}
	image := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON)
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Created = v1.Time{Time: epoch}
	config.Config.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	return mutate.ConfigFile(image, config)
}

func pack(files []File) ([]byte, error) {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	made := map[string]bool{"/": true}
	directory := func(name string, mode int64) error {
		if made[name] {
			return nil
		}
		made[name] = true
		return archive.WriteHeader(&tar.Header{
			Typeflag: tar.TypeDir, Name: strings.TrimPrefix(name, "/") + "/", Mode: mode, ModTime: epoch,
		})
	}
	if err := directory("/tmp", 0o1777); err != nil {
		return nil, err
	}
	for _, file := range files {
		if !path.IsAbs(file.Path) {
			return nil, fmt.Errorf("the path %q is not absolute", file.Path)
		}
		for _, parent := range parents(file.Path) {
			if err := directory(parent, 0o755); err != nil {
				return nil, err
			}
		}
		mode := file.Mode
		if mode == 0 {
			mode = 0o755
		}
		header := &tar.Header{
			Typeflag: tar.TypeReg, Name: strings.TrimPrefix(path.Clean(file.Path), "/"),
			Mode: mode, Size: int64(len(file.Content)), ModTime: epoch,
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(file.Content); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

// parents lists the directories that lead to a path, the outermost first.
func parents(name string) []string {
	var out []string
	for dir := path.Dir(path.Clean(name)); dir != "/"; dir = path.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}
