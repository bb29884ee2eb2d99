package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// newRootfs has the real script complete a root file system with stand-ins for the programs, and returns its folder.
func newRootfs(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	busybox, authorities := filepath.Join(dir, "busybox"), filepath.Join(dir, "authorities.pem")
	write(t, busybox, "#!/bin/sh\nprintf 'busybox\\nls\\nsh\\n'\n", 0o755)
	write(t, authorities, "certificates\n", 0o600)
	root := filepath.Join(dir, "rootfs")
	write(t, filepath.Join(root, "kaniko/bin/clone-build-push"), "builder", 0o755)
	write(t, filepath.Join(root, "kaniko/bin/dockline"), "the others", 0o700)
	command := exec.Command("./rootfs.sh", root)
	command.Env = append(os.Environ(), "BUSYBOX="+busybox, "CA_CERTIFICATES="+authorities)
	if out, err := command.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return root
}

// TestWhatTheHostLacks is said by name: the root file system is not made without it.
func TestWhatTheHostLacks(t *testing.T) {
	t.Parallel()
	for missing, want := range map[string]string{
		"BUSYBOX":         "rootfs: a static busybox is missing: install Debian's package busybox-static, or set BUSYBOX\n",
		"CA_CERTIFICATES": "rootfs: a bundle of CA certificates is missing: install Debian's package ca-certificates, or set CA_CERTIFICATES\n",
	} {
		t.Run(missing, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, filepath.Join(dir, "there"), "#!/bin/sh\n", 0o755)
			command := exec.Command("./rootfs.sh", filepath.Join(dir, "rootfs"))
			command.Env = append(os.Environ(), "BUSYBOX="+dir+"/there", "CA_CERTIFICATES="+dir+"/there", missing+"="+dir+"/absent")
			if out, err := command.CombinedOutput(); err == nil || string(out) != want {
				t.Errorf("%v, %q, want %q", err, out, want)
			}
		})
	}
}

func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

func readDockerfile(t *testing.T) []byte {
	t.Helper()
	source, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	return source
}

// TestWhatTheImageHolds: everything of ours lies below /kaniko, which a build leaves alone; the rest is two links and
// an empty folder. Programs are everybody's to run, and nothing is anybody's to change.
func TestWhatTheImageHolds(t *testing.T) {
	t.Parallel()
	image, err := newImage(newRootfs(t), v1.Config{}, time.Unix(1700000000, 0))
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-xr-x bin",
		"Lrwxrwxrwx bin/sh -> /kaniko/busybox/sh",
		"Lrwxrwxrwx busybox -> /kaniko/busybox",
		"drwxr-xr-x kaniko",
		"drwxr-xr-x kaniko/bin",
		"-rwxr-xr-x kaniko/bin/clone-build-push",
		"-rwxr-xr-x kaniko/bin/dockline",
		"Lrwxrwxrwx kaniko/bin/promote -> dockline",
		"Lrwxrwxrwx kaniko/bin/retag -> dockline",
		"Lrwxrwxrwx kaniko/bin/verify -> dockline",
		"drwxr-xr-x kaniko/busybox",
		"-rwxr-xr-x kaniko/busybox/busybox",
		"Lrwxrwxrwx kaniko/busybox/ls -> busybox",
		"Lrwxrwxrwx kaniko/busybox/sh -> busybox",
		"-rw-r--r-- kaniko/dockline-owns-this-root",
		"drwxr-xr-x kaniko/ssl",
		"drwxr-xr-x kaniko/ssl/certs",
		"-rw-r--r-- kaniko/ssl/certs/ca-certificates.crt",
		"dtrwxrwxrwx tmp",
	}
	if diff := cmp.Diff(want, entries(t, image)); diff != "" {
		t.Errorf("files (-want +got)\n%s", diff)
	}
}

// entries lists an image's files in their order, and fails for one that is not root's or has another time.
func entries(t *testing.T, image v1.Image) []string {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	var out []string
	for archive := tar.NewReader(files); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		line := fmt.Sprint(header.FileInfo().Mode(), " ", header.Name)
		if header.Linkname != "" {
			line += " -> " + header.Linkname
		}
		out = append(out, line)
		if header.Uid != 0 || header.Gid != 0 || header.Uname != "" || header.ModTime.Unix() != 1700000000 {
			t.Errorf("%s: owner %d:%d %q, time %s", header.Name, header.Uid, header.Gid, header.Uname, header.ModTime)
		}
	}
}

// TestWhatTheImageSays reads the project's own Dockerfile.
func TestWhatTheImageSays(t *testing.T) {
	t.Parallel()
	config, err := readConfig(readDockerfile(t), map[string]string{"VERSION": "1.2.3", "REVISION": "abc"})
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Env: []string{
			"PATH=/kaniko/bin:/kaniko/busybox:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
			"HOME=/kaniko", "USER=root", "SSL_CERT_DIR=/kaniko/ssl/certs", "KANIKO_DIR=/kaniko",
		},
		User: "0", WorkingDir: "/",
		Cmd: []string{"sh", "-c", "echo 'dockline: name a step: clone-build-push, promote, retag or verify, each with --help' >&2; exit 2"},
		Labels: map[string]string{
			"org.opencontainers.image.title":       "Dockline",
			"org.opencontainers.image.description": "Takes container images from Git to production: clone-build-push, promote, retag, verify",
			"org.opencontainers.image.licenses":    "Apache-2.0 AND GPL-2.0-only",
			"org.opencontainers.image.version":     "1.2.3",
			"org.opencontainers.image.revision":    "abc",
		},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("configuration (-want +got)\n%s", diff)
	}
	if !strings.Contains(string(readDockerfile(t)), "make rootfs ROOTFS="+rootfsFolder+" ") {
		t.Error("the Dockerfile lays its root file system out by other means than make rootfs")
	}
}

// TestDockerfilesThatThePackerRefuses: what it cannot do as a builder would is an error with the line.
func TestDockerfilesThatThePackerRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct{ last, want string }{
		"a volume":             {"VOLUME /kaniko", "4: VOLUME: the packer does not know this instruction"},
		"an entrypoint":        {"ENTRYPOINT [\"sh\"]", "4: ENTRYPOINT: the packer does not know this instruction"},
		"a command":            {"RUN true", "4: RUN: the packer does not know this instruction"},
		"a default in a shell": {"CMD sh", "4: CMD: it needs the form of a list"},
		"other files":          {"COPY page /page", "4: COPY: only /rootfs can be copied, once, to /: the packer takes that folder as the image"},
		"a real base image":    {"FROM busybox", "1: the last stage is not FROM scratch"},
		"no files":             {"FROM scratch", "1: the last stage does not copy /rootfs"},
		"no instruction":       {"NOTHING", "1: dockerfile parse error on line 4: unknown instruction: NOTHING"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readConfig([]byte("FROM busybox AS build\nFROM scratch\nCOPY --from=build /rootfs /\n"+row.last+"\n"), nil)
			if err == nil || err.Error() != row.want {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

// TestValuesAreExpanded as a builder does: from arguments, then from the environment, which goes before them.
func TestValuesAreExpanded(t *testing.T) {
	t.Parallel()
	config, err := readConfig([]byte(strings.Join([]string{
		"ARG OUTSIDE=1", "FROM scratch", "COPY --from=build /rootfs /",
		"ARG A=default", "ARG B=${A}-more", "ARG C", "ENV D=$A E=${B:-none} OUTSIDE=$OUTSIDE", "ENV A=hidden D=again",
		"LABEL a=$A c=\"$C\" e='$E'", "WORKDIR /kaniko", "WORKDIR bin", "USER $D",
	}, "\n")), map[string]string{"A": "given", "UNDECLARED": "x"})
	if err != nil {
		t.Fatal(err)
	}
	want := v1.Config{
		Env: []string{"D=again", "E=given-more", "OUTSIDE=", "A=hidden"}, WorkingDir: "/kaniko/bin", User: "again",
		Labels: map[string]string{"a": "hidden", "c": "", "e": "$E"},
	}
	if diff := cmp.Diff(want, config); diff != "" {
		t.Errorf("configuration (-want +got)\n%s", diff)
	}
}

// TestTheSameInputGivesTheSameDigest: the times, the order and the owner of the files do not show.
func TestTheSameInputGivesTheSameDigest(t *testing.T) {
	t.Parallel()
	var digests []string
	for _, when := range []int64{1000, 2000} {
		root := newRootfs(t)
		if err := os.Chtimes(filepath.Join(root, "kaniko/bin/dockline"), time.Now(), time.Unix(when, 0)); err != nil {
			t.Fatal(err)
		}
		image, err := newImage(root, v1.Config{User: "0"}, time.Unix(1700000000, 0).UTC())
		if err != nil {
			t.Fatal(err)
		}
		digest, err := image.Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests = append(digests, digest.String())
	}
	if digests[0] != digests[1] {
		t.Errorf("two builds of one input: %v", digests)
	}
}

// TestFilesThatDoNotBelongIntoTheImage are refused by name.
func TestFilesThatDoNotBelongIntoTheImage(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		add  func(t *testing.T, root string)
		want string
	}{
		"a program that needs a library": {func(t *testing.T, root string) {
			write(t, filepath.Join(root, "bin/dynamic"), dynamic(t), 0o755)
		}, "bin/dynamic: the program is not static"},
		"a program that gives its owner's rights": {func(t *testing.T, root string) {
			write(t, filepath.Join(root, "bin/su"), "su", 0o755)
			if err := os.Chmod(filepath.Join(root, "bin/su"), 0o755|os.ModeSetuid); err != nil {
				t.Fatal(err)
			}
		}, "bin/su: a file of mode urwxr-xr-x does not belong into the image"},
		"nothing": {func(t *testing.T, root string) {
			if err := os.RemoveAll(filepath.Join(root, "bin")); err != nil {
				t.Fatal(err)
			}
		}, "it is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			write(t, filepath.Join(root, "bin/sh"), "shell", 0o755)
			row.add(t, root)
			if _, err := newImage(root, v1.Config{}, time.Unix(0, 0)); err == nil || err.Error() != row.want {
				t.Errorf("got %v, want %s", err, row.want)
			}
		})
	}
}

// dynamic is the least that is a program with an interpreter (elf(5)).
func dynamic(t *testing.T) string {
	t.Helper()
	header := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_X86_64), Version: uint32(elf.EV_CURRENT),
		Phoff: 64, Ehsize: 64, Phentsize: 56, Phnum: 1,
	}
	var out bytes.Buffer
	for _, part := range []any{header, elf.Prog64{Type: uint32(elf.PT_INTERP), Off: 64}} {
		if err := binary.Write(&out, binary.LittleEndian, part); err != nil {
			t.Fatal(err)
		}
	}
	return out.String()
}

// TestWhatIsWritten: the layout and the archive hold one image, by its name, and what is attached leaves it as it is.
func TestWhatIsWritten(t *testing.T) {
	t.Parallel()
	image, err := newImage(newRootfs(t), v1.Config{User: "0"}, time.Unix(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag("registry.example.com/tools/dockline:1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for range 2 { // the second time over the first
		if _, err := writeImage(out, tag, image); err != nil {
			t.Fatal(err)
		}
	}
	list := filepath.Join(out, "dockline.cdx.json")
	write(t, list, `{"bomFormat":"CycloneDX"}`, 0o600)
	if err := run(t.Context(), []string{"attach", "-out", out, "-type", "application/vnd.cyclonedx+json", list}); err != nil {
		t.Fatal(err)
	}

	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	archived, err := tarball.ImageFromPath(filepath.Join(out, "image.tar"), &tag)
	if err != nil {
		t.Fatal(err)
	}
	wantID, _ := image.ConfigName()
	if id, err := archived.ConfigName(); err != nil || id != wantID {
		t.Errorf("the archive's image is %s, %v, want %s", id, err, wantID)
	}
	index, err := layout.ImageIndexFromPath(filepath.Join(out, "oci"))
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 2 {
		t.Fatalf("the layout holds %+v, %v", manifest, err)
	}
	if first := manifest.Manifests[0]; first.Digest != digest || first.Annotations["org.opencontainers.image.ref.name"] != "1.2.3" {
		t.Errorf("the layout's image is %+v, want %s", first, digest)
	}
	laid, err := index.Image(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(laid); err != nil {
		t.Error(err)
	}
	attached, err := index.Image(manifest.Manifests[1].Digest)
	if err != nil {
		t.Fatal(err)
	}
	statement, err := attached.Manifest()
	if err != nil || statement.Subject == nil || statement.Subject.Digest != digest ||
		statement.ArtifactType != "application/vnd.cyclonedx+json" || len(statement.Layers) != 1 {
		t.Errorf("the attachment is %+v, %v", statement, err)
	}
	if content, err := os.ReadFile(filepath.Join(out, "oci/blobs/sha256", statement.Layers[0].Digest.Hex)); err != nil ||
		string(content) != `{"bomFormat":"CycloneDX"}` {
		t.Errorf("the attached file is %q, %v", content, err)
	}
}
