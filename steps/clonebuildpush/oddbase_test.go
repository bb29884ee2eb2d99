package clonebuildpush

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// entry is a file of a layer.
type entry struct {
	tar.Header
	content string
}

func link(kind byte, path, to string) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: path, Linkname: to, Mode: 0o777}}
}

func regular(path string, mode int64, content string) entry {
	return entry{Header: tar.Header{Typeflag: tar.TypeReg, Name: path, Mode: mode, Size: int64(len(content))}, content: content}
}

func device(kind byte, path string, major, minor int64) entry {
	return entry{Header: tar.Header{Typeflag: kind, Name: path, Mode: 0o666, Devmajor: major, Devminor: minor}}
}

// TestBaseImagesOfEveryKindOfFile builds twice on a base image, the second time in the place of the first: its files are
// unpacked, found unchanged, deleted and unpacked again. None gets in the way, and none is in another layer than its own.
func TestBaseImagesOfEveryKindOfFile(t *testing.T) {
	t.Parallel()
	many := func(number int) (all []entry) {
		for i := range number {
			all = append(all, regular(fmt.Sprintf("srv/many/%d/%d", i/500, i), 0o644, ""))
		}
		return all
	}
	for _, row := range []struct {
		name    string
		entries []entry
		root    bool // only root may unpack it
	}{
		{"programs and settings of the system", []entry{
			regular("bin/sh", 0o755, "another shell\n"), regular("bin/busybox", 0o755, "another\n"), regular("busybox/sh", 0o755, "another\n"),
			regular("etc/ssl/certs/ca-certificates.crt", 0o644, "none\n"), regular("etc/ssl/cert.pem", 0o644, "none\n"),
			regular("etc/passwd", 0o644, "nobody:x:1:1::/:\n"), regular("etc/hosts", 0o644, "127.0.0.66 localhost\n"),
			regular("etc/resolv.conf", 0o644, "nameserver 127.0.0.66\n"), regular("etc/ld.so.preload", 0o644, "/srv/none.so\n"),
		}, false},
		{"what is Dockline's own", []entry{
			regular("kaniko/bin/clone-build-push", 0o755, "another\n"), regular("kaniko/dockline-owns-this-root", 0o644, "another\n"),
			regular("kaniko/.docker/config.json", 0o644, "{}"), link(tar.TypeSymlink, "dockerfile", "/kaniko/bin/clone-build-push"),
		}, false},
		{"set-uid and set-gid programs", []entry{
			regular("bin/up", 0o4755, "a program\n"), regular("bin/group", 0o2755, "a program\n"), regular("bin/both", 0o6711, "a program\n"),
		}, false},
		{"links out of the root", []entry{
			link(tar.TypeSymlink, "srv/up", "../../../../../../etc/passwd"), link(tar.TypeSymlink, "srv/nothing", "/none/at/all"),
			link(tar.TypeSymlink, "srv/kaniko", "/kaniko"), link(tar.TypeSymlink, "srv/self", "/proc/self/exe"),
		}, false},
		{"a link to another process's root", []entry{link(tar.TypeSymlink, "srv/host", "/proc/1/root")}, false},
		{"a link in a circle", []entry{link(tar.TypeSymlink, "srv/circle", "circle")}, false},
		{"a link through a file", []entry{link(tar.TypeSymlink, "srv/file", "/etc/passwd/x")}, false},
		{"hard links", []entry{
			regular("srv/one", 0o644, "one\n"), link(tar.TypeLink, "srv/two", "srv/one"), link(tar.TypeLink, "srv/three", "/srv/one"),
		}, false},
		{"devices and a pipe", []entry{
			device(tar.TypeChar, "srv/null", 1, 3), device(tar.TypeBlock, "srv/disk", 8, 0), device(tar.TypeFifo, "srv/pipe", 0, 0),
		}, true},
		{"100,000 files", many(100_000), false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.root && os.Geteuid() != 0 {
				t.Skip("NO DEVICES ARE TESTED: an ordinary user's container can make none")
			}
			s, _ := newRealStage(t, map[string]string{
				"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE AS one\nRUN [\"/bin/stamp\", \"/srv/first\", \"yes\"]\n" +
					"FROM $BASE\nCOPY --from=one /srv/first /srv/first\nRUN [\"/bin/stamp\", \"/srv/second\", \"yes\"]\n",
			})
			plain, err := remote.Image(s.reference("web", "1"), account)
			if err != nil {
				t.Fatal(err)
			}
			base := withEntries(t, plain, row.entries)
			if err := remote.Write(s.reference("odd", "1"), base, account); err != nil {
				t.Fatal(err)
			}
			results := t.TempDir()
			status, output := s.runInSandbox(nil, results, map[string]string{"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/odd:1"})
			if status != 0 {
				t.Fatalf("exit status %d:\n%s", status, output)
			}
			image, err := remote.Image(s.reference("hello", "1.0"), account)
			if err != nil {
				t.Fatal(err)
			}
			if built, err := image.Digest(); err != nil || readResult(results, "IMAGE_DIGEST") != built.String() {
				t.Errorf("the result is %q, and the image %s (%v)", readResult(results, "IMAGE_DIGEST"), built, err)
			}
			before, after := layersOf(t, base), layersOf(t, image)
			if len(after) != len(before)+2 {
				t.Fatalf("%d layers, want %d", len(after), len(before)+2)
			}
			for i, layer := range before {
				if digestOfLayer(t, layer) != digestOfLayer(t, after[i]) {
					t.Errorf("layer %d is not the base image's", i)
				}
			}
			var made []string
			for _, layer := range after[len(before):] {
				made = append(made, filesOfLayer(t, layer)...)
			}
			if want := []string{"srv/first", "srv/second"}; !slices.Equal(made, want) {
				t.Errorf("the build's own layers hold %q, want %q", made[:min(len(made), 20)], want)
			}
		})
	}
}

func withEntries(t *testing.T, base v1.Image, entries []entry) v1.Image {
	t.Helper()
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		read, write := io.Pipe()
		go func() {
			archive := tar.NewWriter(write)
			var problems []error
			for _, entry := range entries {
				problems = append(problems, archive.WriteHeader(&entry.Header))
				_, err := io.WriteString(archive, entry.content)
				problems = append(problems, err)
			}
			_ = write.CloseWithError(errors.Join(errors.Join(problems...), archive.Close()))
		}()
		return read, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.AppendLayers(base, layer)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func layersOf(t *testing.T, image v1.Image) []v1.Layer {
	t.Helper()
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	return layers
}

func digestOfLayer(t *testing.T, layer v1.Layer) v1.Hash {
	t.Helper()
	digest, err := layer.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest
}

// filesOfLayer lists what a layer holds but directories.
func filesOfLayer(t *testing.T, layer v1.Layer) (paths []string) {
	t.Helper()
	content, err := layer.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return paths
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.Typeflag != tar.TypeDir {
			paths = append(paths, strings.Trim(header.Name, "/"))
		}
	}
}
