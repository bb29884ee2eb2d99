//go:build e2e

package image_test

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// What the two builds of the test, and Docker's own, are told.
var settings = []string{"VERSION=1.2.3", "REVISION=0123456789012345678901234567890123456789", "SOURCE_DATE_EPOCH=1700000000"}

// TestTwoWaysOneImage builds the image three times from copies of the sources: twice by `make image`, in folders and
// under circumstances of their own, which must give one digest; and once by the Dockerfile with the engine's own builder,
// which must give the same files, to the byte, and the same configuration. What `make image` has compiled is not compiled
// again by the Dockerfile (see gocache): it is asked for by a hash of all that goes into it, and everything is linked anew.
func TestTwoWaysOneImage(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("left out by -short: three images are built")
	}
	first, firstDigest := makeImage(t, "dockline:first", "umask 022")
	_, secondDigest := makeImage(t, "dockline:second", "umask 077; export LC_ALL=C TZ=Asia/Tokyo HOME="+os.Getenv("HOME"))
	if firstDigest != secondDigest {
		t.Errorf("two builds of the same sources: %s and %s", firstDigest, secondDigest)
	}

	standIns(t, buildCache(t))
	args := []string{
		"build", "--network", "host", "-t", "dockline:dockerfile", "--build-arg", "GO_IMAGE=stand-in-go",
		"--build-arg", "BUSYBOX_IMAGE=stand-in-busybox", "--build-arg", "GOPROXY=" + moduleProxy(t),
	}
	for _, setting := range settings {
		args = append(args, "--build-arg", setting)
	}
	if status, stdout, stderr := run(t, append(args, copySources(t))...); status != 0 {
		t.Fatalf("docker build ended in status %d\n%s%s", status, stdout, stderr)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if status, _, stderr := run(t, "save", "-o", archive, "dockline:dockerfile"); status != 0 {
		t.Fatal(stderr)
	}
	builders, err := tarball.ImageFromPath(archive, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(configOf(t, first), configOf(t, builders)); diff != "" {
		t.Errorf("configuration (-make image +docker build)\n%s", diff)
	}
	if diff := cmp.Diff(filesOf(t, first), filesOf(t, builders)); diff != "" {
		t.Errorf("files (-make image +docker build)\n%s", diff)
	}
	if status, stdout, stderr := run(t, "run", "--rm", "dockline:dockerfile", "promote", "--version"); status != 0 || stdout != "promote 1.2.3\n" {
		t.Errorf("exit status %d, %q, %q", status, stdout, stderr)
	}
}

// makeImage has `make image` build the image from a copy of the sources, after some shell commands, and load it into
// the engine.
func makeImage(t *testing.T, name, before string) (image v1.Image, digest string) {
	t.Helper()
	sources := copySources(t)
	command := docker.Command(t.Context(), "")
	command.Path, command.Args = "/bin/sh", []string{"sh", "-ec", before + `; exec make image "$@"`, "sh", "IMG=" + name}
	command.Args = append(command.Args, settings...)
	command.Dir = sources
	status, stdout, stderr := finish(t, command)
	if status != 0 || !strings.Contains(stdout, "loaded into docker as "+name) {
		t.Fatalf("make image ended in status %d\n%s%s", status, stdout, stderr)
	}
	_, digest, _ = strings.Cut(stdout, "digest ")
	digest, _, _ = strings.Cut(digest, "\n")
	image, err := tarball.ImageFromPath(filepath.Join(sources, ".build/image/image.tar"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return image, digest
}

// copySources copies what Git knows, or would be told, of the project into a folder of its own.
func copySources(t *testing.T) (dir string) {
	t.Helper()
	list, err := exec.Command("git", "-C", project, "ls-files", "-z", "--cached", "--others", "--exclude-standard").Output()
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	for path := range strings.SplitSeq(strings.Trim(string(list), "\x00"), "\x00") {
		content, err := os.ReadFile(filepath.Join(project, path))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted, and not committed
		}
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(filepath.Join(project, path))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, path)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, path), content, info.Mode().Perm()); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// moduleProxy serves the modules of this machine's cache, in which they are kept as a proxy serves them.
func moduleProxy(t *testing.T) (url string) {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOMODCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(filepath.Join(strings.TrimSpace(string(cache)), "cache/download"))))
	t.Cleanup(server.Close)
	return server.URL
}

// buildCache serves what Go has compiled on this machine.
func buildCache(t *testing.T) (url string) {
	t.Helper()
	cache, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	var served atomic.Int64
	files := http.FileServer(http.Dir(strings.TrimSpace(string(cache))))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "-d") {
			served.Add(1)
		}
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		server.Close()
		t.Logf("%d files were taken from Go's cache", served.Load())
	})
	return server.URL
}

// standIns makes the two base images out of what this machine has: Go's tree with make, a shell, and what takes from
// this machine's cache, and busybox.
func standIns(t *testing.T, cache string) {
	t.Helper()
	busybox := project + "/.build/rootfs/kaniko/busybox"
	goroot, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	programs := map[string]string{"/bin/busybox": busybox + "/busybox"}
	importImage(t, "stand-in-busybox", programs, nil, nil)

	programs["/etc/ssl/certs/ca-certificates.crt"] = "/etc/ssl/certs/ca-certificates.crt"
	maker, err := exec.LookPath("make")
	if err != nil {
		t.Fatal(err)
	}
	programs["/bin/make"] = maker
	gocache, err := compile("dockline/e2e/image/gocache")
	if err != nil {
		t.Fatal(err)
	}
	programs["/bin/gocache"] = filepath.Join(t.TempDir(), "gocache")
	if err := os.WriteFile(programs["/bin/gocache"], gocache, 0o755); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	libraries, err := exec.Command("ldd", maker).Output()
	if err != nil {
		t.Fatal(err)
	}
	for word := range strings.FieldsSeq(string(libraries)) {
		if filepath.IsAbs(word) {
			programs[word] = word
		}
	}
	applets, err := os.ReadDir(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var links []string
	for _, applet := range applets {
		if applet.Name() != "busybox" {
			links = append(links, "/bin/"+applet.Name())
		}
	}
	importImage(t, "stand-in-go", programs, links, map[string]string{"/usr/local/go": strings.TrimSpace(string(goroot))},
		"ENV PATH=/usr/local/go/bin:/bin GOTOOLCHAIN=local HOME=/root GOCACHEPROG='/bin/gocache "+cache+"'")
}

// importImage makes an image of files and folders of this machine, by their paths inside, and of links to busybox.
func importImage(t *testing.T, name string, files map[string]string, links []string, folders map[string]string, changes ...string) {
	t.Helper()
	args := []string{"import"}
	for _, change := range changes {
		args = append(args, "-c", change)
	}
	command := docker.Command(t.Context(), append(args, "-", name)...)
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	written := make(chan error)
	go func() {
		archive := tar.NewWriter(stdin)
		var problems []error
		for inside, outside := range files {
			problems = append(problems, addFile(archive, inside, outside))
		}
		for _, link := range links {
			problems = append(problems, archive.WriteHeader(&tar.Header{
				Typeflag: tar.TypeSymlink, Name: strings.TrimPrefix(link, "/"), Linkname: "/bin/busybox", Mode: 0o777,
			}))
		}
		problems = append(problems, archive.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}))
		for inside, outside := range folders {
			problems = append(problems, filepath.WalkDir(outside, func(path string, entry fs.DirEntry, err error) error {
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				return addFile(archive, inside+strings.TrimPrefix(path, outside), path)
			}))
		}
		written <- errors.Join(errors.Join(problems...), archive.Close(), stdin.Close())
	}()
	status, _, stderr := finish(t, command)
	if err := <-written; err != nil || status != 0 {
		t.Fatalf("importing %s ended in status %d, %v: %s", name, status, err, stderr)
	}
}

func addFile(archive *tar.Writer, inside, outside string) error {
	file, err := os.Open(outside)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	header := &tar.Header{Typeflag: tar.TypeReg, Name: strings.TrimPrefix(inside, "/"), Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if err := archive.WriteHeader(header); err != nil {
		return err
	}
	_, err = io.Copy(archive, file)
	return err
}

// configOf is what an image tells an engine to do with it.
func configOf(t *testing.T, image v1.Image) v1.Config {
	t.Helper()
	file, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.Config
	return v1.Config{
		Env: c.Env, Cmd: c.Cmd, Entrypoint: c.Entrypoint, Labels: c.Labels, User: c.User, WorkingDir: c.WorkingDir,
		Volumes: c.Volumes, ExposedPorts: c.ExposedPorts, StopSignal: c.StopSignal, Shell: c.Shell,
	}
}

// filesOf describes each of an image's files.
func filesOf(t *testing.T, image v1.Image) map[string]string {
	t.Helper()
	files := mutate.Extract(image)
	defer files.Close()
	out := map[string]string{}
	for archive := tar.NewReader(files); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		hash := sha256.New()
		if _, err := io.Copy(hash, archive); err != nil {
			t.Fatal(err)
		}
		out[strings.Trim(header.Name, "/")] = fmt.Sprintf("%s %d:%d %d bytes, time %d, %s%x",
			header.FileInfo().Mode(), header.Uid, header.Gid, header.Size, header.ModTime.Unix(), header.Linkname, hash.Sum(nil)[:6])
	}
}
