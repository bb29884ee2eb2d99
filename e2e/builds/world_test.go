//go:build e2e

package builds_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/builds"
	"dockline/e2e/debian"
	"dockline/e2e/gitserver"
	"dockline/e2e/sandbox"
	"dockline/pkg/imageroot"
)

// background is for what all tests share, and outlives each of them.
var background = context.Background()

// programs are compiled once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "builds")
	if err != nil {
		return "", err
	}
	return dir, builds.Compile(background, dir)
})

func TestMain(m *testing.M) {
	sandbox.Init()
	if os.Geteuid() != 0 {
		fmt.Fprintln(os.Stderr, "builds: BuildKit runs as root only")
		os.Exit(1)
	}
	status := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

// world is what both builders work with: a registry with base images, a web server, a Git server and BuildKit's daemon.
type world struct {
	programs string
	registry string // its host
	buildKit *builds.BuildKit
	words    *strings.Replacer
}

// pageTime is when the web server's files were changed.
var pageTime = time.Date(2020, 2, 2, 20, 20, 20, 0, time.UTC)

const page = "a page\n"

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	var err error
	if w.programs, err = programs(); err != nil {
		t.Fatal(err)
	}
	images := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		r.Header.Del("Range") // which it does not answer as BuildKit expects
		images.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.registry = server.Listener.Addr().String()
	digest := w.pushBases(t)
	web := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		content := map[string]string{"page.txt": page, "a.tar.gz": archives()["a.tar.gz"].content}[path.Base(r.URL.Path)]
		http.ServeContent(rw, r, path.Base(r.URL.Path), pageTime, strings.NewReader(content))
	}))
	t.Cleanup(web.Close)
	root := t.TempDir()
	git, err := gitserver.Start(gitserver.Options{Root: root}, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(git.Close)
	commit, err := gitserver.Commit(filepath.Join(root, "repo.git"), "main", "first", gitserver.Files{
		"README": {Content: "read me\n"}, "sub/deep/file": {Content: "deep\n"}, "run.sh": gitserver.Executable("#!/bin/sh\n"),
		"link": gitserver.Link("README"),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := gitserver.Tag(filepath.Join(root, "repo.git"), "v1", commit, "the first"); err != nil {
		t.Fatal(err)
	}
	w.words = strings.NewReplacer("{BASE}", w.registry+"/base:1", "{REGISTRY}", w.registry, "{DIGEST}", digest, "{WEB}", web.URL,
		"{GIT}", git.URL+"/repo.git", "{ARCH}", runtime.GOARCH, "{PAGE}", fmt.Sprintf("%x", sha256.Sum256([]byte(page))))
	if w.buildKit, err = builds.Start(t.Context(), w.programs, t.TempDir(), w.registry); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.buildKit.Stop)
	return w
}

// pushBases pushes the base image, one for another user with a configuration of its own, and one with triggers.
func (w *world) pushBases(t *testing.T) (digest string) {
	t.Helper()
	if err := debian.Need(t.Context(), map[string]string{"busybox": "busybox-static"}); err != nil {
		t.Fatal(err)
	}
	base, err := builds.Base()
	if err != nil {
		t.Fatal(err)
	}
	user, err := builds.AddFile(base, "home/app/hello", "hello\n")
	if err != nil {
		t.Fatal(err)
	}
	user, err = builds.Reconfigure(user, func(c *v1.ConfigFile) {
		c.Author = "the base's"
		c.Config.User, c.Config.WorkingDir = "app:staff", "/home/app"
		c.Config.Entrypoint, c.Config.Cmd = []string{"/bin/sh", "-c"}, []string{"true"}
		c.Config.ExposedPorts = map[string]struct{}{"80/tcp": {}}
		c.Config.Volumes = map[string]struct{}{"/home/app/volume": {}}
		c.Config.StopSignal = "SIGINT"
		c.Config.Shell = []string{"/bin/sh", "-e", "-c"}
		c.Config.Healthcheck = &v1.HealthConfig{Test: []string{"CMD", "true"}, Interval: time.Second, Retries: 2}
	})
	if err != nil {
		t.Fatal(err)
	}
	triggered, err := builds.Reconfigure(base, func(c *v1.ConfigFile) {
		c.Config.OnBuild = []string{"COPY trigger.txt /onbuild/", "RUN cat /onbuild/trigger.txt > /triggered", "ENV TRIGGERED=yes"}
	})
	if err != nil {
		t.Fatal(err)
	}
	for repository, image := range map[string]v1.Image{"base": base, "user": user, "onbuild": triggered} {
		tag, err := name.NewTag(w.registry + "/" + repository + ":1")
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, image); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := base.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return hash.String()
}

// archives are one tree of files in archives of each compression.
var archives = sync.OnceValue(func() tree {
	if err := debian.Need(background, map[string]string{"bzip2": "bzip2", "xz": "xz-utils"}); err != nil {
		panic(err)
	}
	var out bytes.Buffer
	archive := tar.NewWriter(&out)
	for _, header := range []tar.Header{
		{Typeflag: tar.TypeDir, Name: "in/", Mode: 0o750, Uid: 3, Gid: 4},
		{Typeflag: tar.TypeReg, Name: "in/file", Mode: 0o640, Uid: 5, Gid: 6, Size: 2},
		{Typeflag: tar.TypeLink, Name: "in/same", Linkname: "in/file", Mode: 0o640, Uid: 5, Gid: 6},
		{Typeflag: tar.TypeSymlink, Name: "link", Linkname: "in/file", Mode: 0o777, Uid: 7, Gid: 8},
		{Typeflag: tar.TypeReg, Name: "implied/setuid", Mode: 0o4755},
	} {
		header.ModTime = pageTime
		if err := archive.WriteHeader(&header); err != nil {
			panic(err)
		}
		if _, err := archive.Write([]byte("f\n")[:header.Size]); err != nil {
			panic(err)
		}
	}
	if err := archive.Close(); err != nil {
		panic(err)
	}
	compressed := func(program string) entry {
		command := exec.Command(program, "-c")
		command.Stdin = bytes.NewReader(out.Bytes())
		text, err := command.Output()
		if err != nil {
			panic(err)
		}
		return entry{content: string(text)}
	}
	return tree{
		"a.tar": text(out.String()), "a.tar.gz": text(gzipped(out.String())),
		"a.tar.bz2": compressed("bzip2"), "a.tar.xz": compressed("xz"),
	}
})

func gzipped(content string) string {
	var out bytes.Buffer
	writer := gzip.NewWriter(&out)
	_, _ = writer.Write([]byte(content))
	_ = writer.Close()
	return out.String()
}

// write lays a row's context out, and returns its folder and the Dockerfile's name.
func (w *world) write(t *testing.T, row row) (dir, dockerfile string) {
	t.Helper()
	dir = t.TempDir()
	dockerfile = row.at
	if dockerfile == "" {
		dockerfile = "Dockerfile"
	}
	files := row.context.with(tree{dockerfile: text(w.words.Replace(row.dockerfile))})
	for _, name := range slices.Sorted(maps.Keys(files)) {
		file, target := files[name], filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := file.mode
		var err error
		switch {
		case strings.HasSuffix(name, "/"):
			if mode == 0 {
				mode = 0o755
			}
			err = os.MkdirAll(target, mode)
		case file.link != "":
			err = os.Symlink(file.link, target)
			mode = 0
		case file.hard != "":
			continue
		default:
			if mode == 0 {
				mode = 0o644
			}
			err = os.WriteFile(target, []byte(file.content), 0o600)
		}
		if err == nil && mode != 0 {
			err = os.Chmod(target, fileMode(mode))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for name, file := range files {
		if file.hard != "" {
			if err := os.Link(filepath.Join(dir, file.hard), filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	return dir, dockerfile
}

// fileMode turns the bits of chmod(2) into Go's.
func fileMode(mode fs.FileMode) fs.FileMode {
	out := mode.Perm()
	if mode&0o4000 != 0 {
		out |= fs.ModeSetuid
	}
	if mode&0o2000 != 0 {
		out |= fs.ModeSetgid
	}
	if mode&0o1000 != 0 {
		out |= fs.ModeSticky
	}
	return out
}

// byBuildKit has BuildKit build a row.
func (w *world) byBuildKit(t *testing.T, row row, image, dir, dockerfile string) error {
	t.Helper()
	args := []string{"--local=context=" + dir, "--local=dockerfile=" + dir, "--opt=filename=" + dockerfile}
	for name, value := range row.args {
		args = append(args, "--opt=build-arg:"+name+"="+value)
	}
	if row.target != "" {
		args = append(args, "--opt=target="+row.target)
	}
	if row.builtIn {
		args = append(args, "--opt=cmdline=built-in")
	}
	secrets, err := os.MkdirTemp("", "secrets") // a test's own folder has a name with commas
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(secrets) })
	for name, value := range row.secrets {
		file := filepath.Join(secrets, name)
		if err := os.WriteFile(file, []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, "--secret=id="+name+",src="+file)
	}
	for _, entitlement := range row.allow {
		args = append(args, "--allow="+entitlement)
	}
	return w.buildKit.Build(t.Context(), w.registry+"/"+image, args...)
}

// byStep has clone-build-push build a row, and returns its exit status and what it printed.
func (w *world) byStep(t *testing.T, row row, image, dir, dockerfile string) (status int, printed string) {
	t.Helper()
	const program = "/kaniko/bin/clone-build-push"
	var args []string
	for _, name := range slices.Sorted(maps.Keys(row.args)) {
		args = append(args, name+"="+row.args[name])
	}
	environment := []string{
		"KANIKO_DIR=" + imageroot.Dir, "IMAGE=" + image, "REGISTRY=" + w.registry, "REGISTRY_INSECURE=true", "SOURCE_DIR=/workspace",
		"DOCKERFILE=" + dockerfile, "BUILD_ARGS=" + strings.Join(args, "\n") + "\n", "BUILD_TARGET=" + row.target,
	}
	for name, value := range row.secrets {
		environment = append(environment, "BUILD_SECRET_"+name+"="+value)
	}
	box, err := sandbox.New(t.TempDir(), sandbox.Spec{
		Args: []string{program}, Env: environment, Files: map[string]string{imageroot.Marker: ""},
		Binds: map[string]string{program: filepath.Join(w.programs, "clone-build-push"), "/workspace": dir},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	text, err := command.CombinedOutput()
	if command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), strings.TrimSpace(string(text))
}

// pull returns what an image holds.
func (w *world) pull(t *testing.T, image string) (builds.Files, map[string]string) {
	t.Helper()
	reference, err := name.ParseReference(w.registry + "/" + image)
	if err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(reference)
	if err != nil {
		t.Fatal(err)
	}
	files, err := builds.ReadFiles(pulled)
	if err != nil {
		t.Fatal(err)
	}
	config, err := builds.ReadConfig(pulled)
	if err != nil {
		t.Fatal(err)
	}
	return files, config
}
