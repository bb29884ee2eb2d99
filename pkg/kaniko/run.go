package kaniko

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// order is what the child is told, through a pipe.
type order struct {
	ContextDir     string
	DockerfilePath string
	BuildArgs      []string
	Target         string
	Platform       string
	Labels         []string
	Annotations    map[string]string
	MediaTypes     string
	Secrets        map[string][]byte
	Created        time.Time
	Reproducible   bool
	Proxy          string   // the parent's address, with the password
	Hosts          []string // the registries that are asked through it
	// CacheRepository is the cache's, empty for none.
	CacheRepository string
	CacheTTL        time.Duration
	Layout          string // folder for the image
	Work            string // folder for what the build needs meanwhile

	Executor string            // another program, "" for none
	Doors    map[string]string // where it finds each registry: HOST:PORT by host
}

// outcome is what the child answers, through a pipe that it alone holds.
type outcome struct {
	Digest  string
	Cache   []cachedDigest
	Problem string // what failed
	Line    int    // of the instruction that was under way, 0 for none
	Command string // that instruction, as the parser prints it
	Status  int    // of a RUN that failed
}

// cachedDigest is an entry for the cache, in the layout.
type cachedDigest struct{ Key, Digest string }

// Run builds the image, and returns when no process of the build is left. The errors: fault.Denied when the
// credentials could not be kept from a RUN; fault.Refused when a folder of ReadOnly could be changed, or a folder of the
// build lies where Kaniko would delete it; fault.BuildFailed with "Dockerfile:LINE: INSTRUCTION: ..." when the
// Dockerfile or its context is at fault; the Puller's own when a base image cannot be had; ctx.Err() in the chain when
// ctx ends, after every process of the build was killed.
func (b Build) Run(ctx context.Context) (*Image, error) {
	if err := Ready(b.AllowPrivileged); err != nil {
		return nil, err
	}
	if err := b.checkFolders(); err != nil {
		return nil, err
	}
	if err := b.checkRoom(); err != nil {
		return nil, err
	}
	proxy, err := b.startProxy()
	if err != nil {
		return nil, err
	}
	defer proxy.close()
	work, err := os.MkdirTemp(Dir, "build-")
	if err != nil {
		return nil, fmt.Errorf("making the build's folder: %w", err)
	}
	keep := false
	defer func() {
		if !keep {
			_ = os.RemoveAll(work)
		}
	}()
	told, err := b.order(work, proxy)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(told.DockerfilePath) // before a RUN could change it
	if err != nil {
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: %w", err)
	}
	defer func() {
		if err := putBack("/"); err != nil {
			b.say("warning", "the container's shell could not be put back after the build: "+err.Error())
		}
	}()
	ours, err := readOwn("/")
	if err != nil {
		return nil, err
	}
	warning, err := forbidDumps()
	if err != nil {
		return nil, err
	}
	if warning != "" {
		b.say("warning", warning)
	}
	answer, err := b.runChild(ctx, told)
	if err != nil {
		return nil, err
	}
	if answer.Digest == "" {
		where := place(filepath.Base(told.DockerfilePath), text, answer)
		if cause := proxy.failed(); answer.Status == 0 && cause != nil {
			return nil, fmt.Errorf("%s%w", where, cause)
		}
		return nil, failure(where, answer)
	}
	digest, err := v1.NewHash(answer.Digest)
	if err != nil {
		return nil, fault.New(fault.Unexpected, "reading the built image's digest: %w", err)
	}
	if err := ours.check("/"); err != nil {
		return nil, err
	}
	image, err := OpenLayout(told.Layout, digest)
	if err != nil {
		return nil, err
	}
	image.work = work
	if err := image.openCached(told.Layout, answer.Cache); err != nil {
		return nil, errors.Join(err, image.Close())
	}
	keep = true
	return image, nil
}

// checkRoom warns of what the build may lack, and refuses what cannot fit.
func (b Build) checkRoom() error {
	have, err := capabilities()
	if err != nil {
		return err
	}
	space, err := b.checkSpace()
	if err != nil {
		return err
	}
	for _, warning := range []string{capabilityWarning(have), space} {
		if warning != "" {
			b.say("warning", warning)
		}
	}
	return nil
}

// checkFolders refuses a build context or a layout that Kaniko would delete with the root file system, or take for a
// part of it, and a folder that a RUN must not change and could.
func (b Build) checkFolders() error {
	around, err := look("/")
	if err != nil {
		return fault.New(fault.Unexpected, "looking where the build's folders lie: %w", err)
	}
	context, err := filepath.EvalSymlinks(b.ContextDir)
	if err != nil {
		return fault.New(fault.BuildFailed, "reading the build context: %w", err)
	}
	if err := staysInPlace("context", context, around.mounts); err != nil {
		return err
	}
	if b.Layout != "" {
		parent, err := filepath.EvalSymlinks(filepath.Dir(b.Layout))
		if err != nil {
			return fault.New(fault.Configuration, "reading the folder for the image: %w", err)
		}
		if err := staysInPlace("image's folder", parent, around.mounts); err != nil {
			return err
		}
	}
	if err := b.checkExecutor(); err != nil {
		return err
	}
	for _, dir := range b.ReadOnly {
		if err := unchangeable(dir, around.mounts); err != nil {
			return err
		}
	}
	return nil
}

func staysInPlace(what, dir string, mounts []mount) error {
	if below(dir, Dir) || mountOf(dir, mounts).point != "/" {
		return nil
	}
	return fault.WithHint(
		fault.New(fault.Refused, "refusing to build: the %s %q lies on the file system that the build replaces", what, dir),
		"mount it, or put it below "+Dir)
}

func (b Build) order(work string, proxy *proxy) (order, error) {
	told := order{
		ContextDir: b.ContextDir, DockerfilePath: b.dockerfile(), BuildArgs: b.BuildArgs, Target: b.Target,
		Platform: b.Platform, Annotations: b.Annotations, MediaTypes: b.MediaTypes, Secrets: b.Secrets, Created: b.Created,
		Reproducible: b.Reproducible, Proxy: proxy.url(), Hosts: proxy.hosts(),
		Layout: cmp.Or(b.Layout, filepath.Join(work, "image")), Work: work, Executor: b.Executor,
	}
	if b.Cache != nil {
		told.CacheRepository, told.CacheTTL = b.Cache.Repository.Name(), b.Cache.TTL
	}
	for _, key := range slices.Sorted(maps.Keys(b.Labels)) {
		told.Labels = append(told.Labels, key+"="+b.Labels[key])
	}
	var err error
	if b.Executor != "" {
		told.Doors, err = proxy.openDoors()
	}
	return told, err
}

func (b Build) dockerfile() string {
	if filepath.IsAbs(b.Dockerfile) {
		return b.Dockerfile
	}
	return filepath.Join(b.ContextDir, b.Dockerfile)
}

// failure tells why a build failed, after the place of the instruction that was under way.
func failure(where string, answer outcome) error {
	err := fault.New(fault.BuildFailed, "%s%s", where, answer.Problem)
	full := strings.Contains(answer.Problem, unix.ENOSPC.Error())
	if answer.Status != 0 {
		err = fault.New(fault.BuildFailed, "%sexit status %d", where, answer.Status)
		if full = diskFull("/"); full {
			err = fault.New(fault.BuildFailed, "%w, and the disk is full", err)
		}
	}
	if full {
		return fault.WithHint(err, "give the container more disk (in Kubernetes ephemeral-storage), or have the build write less")
	}
	return err
}

// leastRoom is what a disk is called full without: most programs that fail for want of room leave less.
const leastRoom = 1 << 20

func diskFull(path string) bool {
	var room unix.Statfs_t
	if err := unix.Statfs(path, &room); err != nil {
		return false
	}
	return room.Bavail*uint64(room.Bsize) < leastRoom || room.Files > 0 && room.Ffree == 0 //nolint:gosec // a size is not negative
}

// place tells the instruction that was under way, and its line: "Dockerfile:4: RUN make: ". It is empty when none was.
func place(name string, text []byte, answer outcome) string {
	if answer.Line == 0 {
		return ""
	}
	return fmt.Sprintf("%s:%d: %s: ", name, answer.Line, instruction(text, answer))
}

// longestInstruction is what is shown of an instruction: the line says where the rest is.
const longestInstruction = 80

// instruction returns the instruction as the Dockerfile writes it, in one line.
func instruction(dockerfile []byte, answer outcome) string {
	lines := strings.Split(string(dockerfile), "\n")
	shown := answer.Command // of a base image's ONBUILD, which the Dockerfile does not hold
	word, _, _ := strings.Cut(shown, " ")
	if answer.Line <= len(lines) && strings.HasPrefix(strings.ToUpper(strings.TrimSpace(lines[answer.Line-1])), word) {
		shown = lines[answer.Line-1]
	}
	shown = strings.Join(strings.Fields(shown), " ")
	if runes := []rune(shown); len(runes) > longestInstruction {
		return string(runes[:longestInstruction]) + "…"
	}
	return shown
}

func send(to io.WriteCloser, value any) error {
	return errors.Join(json.NewEncoder(to).Encode(value), to.Close())
}
