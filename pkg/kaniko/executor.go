package kaniko

import (
	"bufio"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/util"
	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// checkExecutor refuses a program that cannot be another executor here, secrets that it could not keep, and what it is not
// asked for.
func (b Build) checkExecutor() error {
	if b.Executor == "" {
		return nil
	}
	if len(b.Secrets) > 0 {
		return fault.WithHint(
			fault.New(fault.Configuration, "refusing to build with %q: every RUN could read the build secrets in its memory", b.Executor),
			"build without build secrets, or with the executor that is built in")
	}
	if b.Cache != nil || len(b.Annotations) > 0 || b.MediaTypes != "" {
		return fault.New(fault.Configuration, "refusing to build with %q: a cache, annotations and media types are not asked of it", b.Executor)
	}
	real, err := filepath.EvalSymlinks(b.Executor)
	if err != nil || !filepath.IsAbs(b.Executor) {
		return fault.New(fault.Configuration, "the executor %q is not the absolute path of a program: %w", b.Executor,
			cmp.Or(err, errors.New("it is relative")))
	}
	if info, err := os.Stat(real); err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 == 0 {
		return fault.New(fault.Configuration, "the executor %q is not a program", b.Executor)
	}
	// Executors take the folder that they are in for Kaniko's own, and would move it to KANIKO_DIR.
	if filepath.Dir(real) != Dir {
		return fault.WithHint(fault.New(fault.Configuration, "the executor %q is not directly in %s", b.Executor, Dir),
			"mount or copy it to "+Dir+"/executor")
	}
	return nil
}

// execute has another executor build the image, writes it, and returns the digest of its manifest. The executor has
// nothing to hide but the password by which it pulls what the Dockerfile names: a RUN is its equal, and can read that.
func execute(told order) (done outcome, err error) {
	// So that what a RUN leaves is this process's to end, before anything that it may have changed is read.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return outcome{}, fmt.Errorf("becoming the parent of orphaned processes: %w", err)
	}
	told.Work = filepath.Join(told.Work, "executor")
	if err := os.MkdirAll(told.Work, 0o700); err != nil {
		return outcome{}, err
	}
	if err := writeDoorKeys(told); err != nil {
		return outcome{}, err
	}
	if err := clearForExecutor(); err != nil {
		return outcome{}, err
	}
	written := filepath.Join(told.Work, "image")
	last, err := runExecutor(told, executorArguments(told, written))
	if errors.Is(err, ErrLeft) {
		return outcome{}, err
	}
	if err != nil {
		last = strings.TrimPrefix(cmp.Or(last, err.Error()), "error building image: ")
		return outcome{}, fmt.Errorf("%q: %s", told.Executor, reason(last))
	}
	handed, err := indexDigest(filepath.Join(written, "index.json"))
	if err != nil {
		return outcome{}, fmt.Errorf("reading what the executor has built: %w", err)
	}
	built, err := OpenLayout(written, handed)
	if err != nil {
		return outcome{}, err
	}
	defer built.Close()
	image := built.Image
	if told.Platform != "" {
		if image, err = withPlatform(image, told.Platform); err != nil {
			return outcome{}, err
		}
	}
	if !told.Created.IsZero() {
		if image, err = mutate.CreatedAt(image, v1.Time{Time: told.Created}); err != nil {
			return outcome{}, err
		}
	}
	layoutPath, err := layout.Write(told.Layout, empty.Index)
	if err != nil {
		return outcome{}, err
	}
	done.Digest, err = appendImage(layoutPath, image)
	return done, err
}

// clearForExecutor empties the root, which executors leave as it is before the first stage: what is in this container's own
// root is not in the image, and no link of the repository leads there.
func clearForExecutor() error {
	if err := ready("/", config.KanikoDir, true); err != nil {
		return err
	}
	if err := util.InitIgnoreList(); err != nil {
		return err
	}
	return util.DeleteFilesystem()
}

// reason leaves out what Kaniko wraps every failure of an instruction in.
func reason(text string) string {
	for _, wrapping := range []string{"error building stage: ", "failed to execute command: ", "starting command: "} {
		text = strings.TrimPrefix(text, wrapping)
	}
	return text
}

// standard switches on what Kaniko v1.27.5 leaves off for the sake of its old users, and every other builder does:
// files are copied as root's whatever the USER, an ARG goes before an ENV that stands above it, a base image's
// annotations are not the image's own, and hard links stay links. Other executors do not know them.
var standard = []string{
	"FF_KANIKO_COPY_AS_ROOT=1", "FF_KANIKO_COPY_CHMOD_ON_IMPLICIT_DIRS=1", "FF_KANIKO_BUILDKIT_ARG_ENV_PRECEDENCE=1",
	"FF_KANIKO_NO_PROPAGATE_ANNOTATIONS=1", "FF_KANIKO_OCI_SCRATCH_BASE=1", "FF_KANIKO_PRESERVE_HARDLINKS=1",
}

// executorArguments are flags that the archived original (v1.24.0) and its continuation both know.
func executorArguments(told order, written string) []string {
	arguments := []string{
		"--force", "--no-push", "--context=dir://" + told.ContextDir, "--dockerfile=" + told.DockerfilePath,
		"--oci-layout-path=" + written, "--skip-default-registry-fallback",
	}
	for host, address := range told.Doors {
		arguments = append(arguments, "--registry-map="+host+"="+address, "--insecure-registry="+address)
	}
	for _, argument := range told.BuildArgs {
		arguments = append(arguments, "--build-arg="+argument)
	}
	for _, label := range told.Labels {
		arguments = append(arguments, "--label="+label)
	}
	if told.Target != "" {
		arguments = append(arguments, "--target="+told.Target)
	}
	if told.Platform != "" {
		arguments = append(arguments, "--custom-platform="+told.Platform)
	}
	if told.Reproducible {
		arguments = append(arguments, "--reproducible")
	}
	return arguments
}

// writeDoorKeys leaves the password of the parent's doors where executors look for one.
func writeDoorKeys(told order) error {
	parent, err := url.Parse(told.Proxy)
	if err != nil {
		return fmt.Errorf("reading the parent's address: %w", err)
	}
	password, _ := parent.User.Password()
	key := map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(parent.User.Username() + ":" + password))}
	auths := map[string]any{}
	for _, address := range told.Doors {
		auths[address] = key
	}
	content, err := json.Marshal(map[string]any{"auths": auths})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(told.Work, "config.json"), content, 0o600)
}

// runExecutor runs the program to its end, ends what it has left, and passes on what it prints. It returns the last line,
// in which executors say what failed.
func runExecutor(told order, arguments []string) (last string, err error) {
	read, write, err := os.Pipe()
	if err != nil {
		return "", err
	}
	defer read.Close()
	command := exec.Command(told.Executor, arguments...) //nolint:gosec // it is what KANIKO_EXECUTOR is for
	command.Env = slices.Concat(os.Environ(), standard, []string{"DOCKER_CONFIG=" + told.Work})
	command.Dir, command.Stdout, command.Stderr = "/", write, write
	err = command.Start()
	_ = write.Close()
	if err != nil {
		return "", err
	}
	said := make(chan string, 1)
	go func() {
		var crash error // then what was said last is not told
		defer fault.Catch(&crash)
		defer close(said)
		said <- passOn(read, os.Stdout)
	}()
	stop := reap(command.Process.Pid)
	err = command.Wait()
	crash := stop()
	// A daemon that a RUN has left may hold the output open.
	if left := killDescendants(); left != nil {
		return "", errors.Join(err, crash, left)
	}
	return <-said, errors.Join(err, crash)
}

// passOn copies lines, and returns the last that is not empty.
func passOn(from io.Reader, to io.Writer) (last string) {
	lines := bufio.NewReaderSize(from, longestLine)
	for {
		line, err := lines.ReadSlice('\n')
		_, _ = to.Write(line)
		if text := strings.TrimSpace(string(line)); text != "" {
			last = text
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return last
		}
	}
}

// indexDigest reads which one image a layout's index names. A RUN may have put anything there.
func indexDigest(path string) (v1.Hash, error) {
	file, err := os.OpenFile(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0) //nolint:gosec // checked below
	if err != nil {
		return v1.Hash{}, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return v1.Hash{}, fmt.Errorf("%q is not a regular file", path)
	}
	var index v1.IndexManifest
	if err := json.NewDecoder(io.LimitReader(file, largestManifest)).Decode(&index); err != nil {
		return v1.Hash{}, err
	}
	if len(index.Manifests) != 1 {
		return v1.Hash{}, fmt.Errorf("%d images are there, not one", len(index.Manifests))
	}
	return index.Manifests[0].Digest, nil
}
