package builds

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
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

// epoch is the time of all files of the base image.
var epoch = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// capability lets a program bind to ports below 1024 (capabilities(7)): what `setcap cap_net_bind_service=ep` writes.
const capability = "\x01\x00\x00\x02\x00\x04\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

// Base is an image with a shell, Debian's busybox-static, with users beside root, and with a file of each kind that is
// easily lost: a set-uid one, one with a capability, two hard links, links to a folder and out of nowhere.
func Base() (v1.Image, error) {
	program, err := exec.LookPath("busybox")
	if err != nil {
		return nil, err
	}
	busybox, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	applets, err := exec.Command(program, "--list").Output()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	add := func(header tar.Header, content string) {
		if err != nil {
			return
		}
		header.ModTime, header.Size = epoch, int64(len(content))
		if err = archive.WriteHeader(&header); err == nil {
			_, err = io.WriteString(archive, content)
		}
	}
	for _, dir := range []string{"bin/", "etc/", "home/", "srv/", "srv/data/", "usr/", "usr/bin/", "var/", "var/lib/", "run/"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir, Mode: 0o755}, "")
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, "")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "root/", Mode: 0o700}, "")
	add(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o750, Uid: 1000, Gid: 1000}, "")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/busybox", Mode: 0o755}, string(busybox))
	for _, applet := range strings.Fields(string(applets)) {
		if applet != "busybox" {
			add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + applet, Linkname: "busybox", Mode: 0o777}, "")
		}
	}
	for name, content := range map[string]string{
		"etc/passwd": "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000::/home/app:/bin/sh\n",
		"etc/group":  "root:x:0:\napp:x:1000:\nstaff:x:50:app\n",
	} {
		add(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, content)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "usr/bin/raise", Mode: 0o4755}, "#!/bin/sh\n")
	add(tar.Header{
		Typeflag: tar.TypeReg, Name: "usr/bin/serve", Mode: 0o755,
		PAXRecords: map[string]string{"SCHILY.xattr.security.capability": capability}, Format: tar.FormatPAX,
	}, "#!/bin/sh\n")
	add(tar.Header{Typeflag: tar.TypeReg, Name: "srv/data/one", Mode: 0o640, Gid: 50}, "one\n")
	add(tar.Header{Typeflag: tar.TypeLink, Name: "srv/data/same", Linkname: "srv/data/one", Mode: 0o640, Gid: 50}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "var/run", Linkname: "/run", Mode: 0o777}, "")
	add(tar.Header{Typeflag: tar.TypeFifo, Name: "srv/pipe", Mode: 0o620, Uid: 9}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "srv/owned", Linkname: "data", Mode: 0o777, Uid: 7, Gid: 8}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "data", Linkname: "srv/data", Mode: 0o777}, "")
	add(tar.Header{Typeflag: tar.TypeSymlink, Name: "srv/nowhere", Linkname: "/not/there", Mode: 0o777}, "")
	if err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(out.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), layer)
	if err != nil {
		return nil, err
	}
	return Reconfigure(image, func(c *v1.ConfigFile) {
		c.OS, c.Architecture, c.Created = "linux", runtime.GOARCH, v1.Time{Time: epoch}
		c.Config.Env = []string{"PATH=/usr/bin:/bin", "BASE=from the base"}
		c.Config.Labels = map[string]string{"base": "yes"}
		c.Config.Cmd = []string{"/bin/sh"}
	})
}

// Reconfigure returns an image with another configuration.
func Reconfigure(image v1.Image, change func(*v1.ConfigFile)) (v1.Image, error) {
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.Config.Env = slices.Clone(file.Config.Env)
	change(file)
	return mutate.ConfigFile(image, file)
}

// AddFile adds a layer with one file to an image.
func AddFile(image v1.Image, name, content string) (v1.Image, error) {
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	header := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content)), ModTime: epoch}
	if err := archive.WriteHeader(header); err != nil {
		return nil, err
	}
	if _, err := io.WriteString(archive, content); err != nil {
		return nil, err
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(out.Bytes())), nil
	}, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	return mutate.AppendLayers(image, layer)
}
