package kaniko

import (
	"fmt"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

const (
	// unpackedFactor is how much larger the files of a base image are than its layers, which are compressed. Those of
	// distributions are 2 to 3 times as large.
	unpackedFactor = 3

	// leastBytes and leastFiles are what a build that has no base image may well need, too.
	leastBytes int64 = 256 << 20
	leastFiles int64 = 20_000
)

// room is what a file system has left.
type room struct {
	path  string
	bytes int64
	files int64 // -1 where it has no limit of its own
}

func roomAt(path string) (room, error) {
	var left unix.Statfs_t
	if err := unix.Statfs(path, &left); err != nil {
		return room{}, fmt.Errorf("asking how much room %q has: %w", path, err)
	}
	found := room{path: path, bytes: int64(left.Bavail) * left.Bsize, files: -1} //nolint:gosec // a file system's size
	if left.Files > 0 {
		found.files = int64(left.Ffree) //nolint:gosec // likewise
	}
	return found, nil
}

// checkSpace refuses a build that cannot fit, and warns of one that may not: the largest base image's files go to the root,
// and its layers, if it is the last stage's, once more into the image's folder.
func (b Build) checkSpace() (warning string, err error) {
	folder := Dir
	if b.Layout != "" {
		folder = filepath.Dir(b.Layout)
	}
	root, err := roomAt("/")
	if err != nil {
		return "", err
	}
	image, err := roomAt(folder)
	if err != nil {
		return "", err
	}
	mounts, err := look("/")
	if err != nil {
		return "", err
	}
	files, layers := b.BaseBytes*unpackedFactor, b.BaseBytes
	if mountOf(folder, mounts.mounts).device == mountOf("/", mounts.mounts).device {
		warning, err = root.judge(b.BaseBytes, files+layers)
		return warning, b.atBase(err)
	}
	first, err := root.judge(b.BaseBytes, files)
	if err != nil {
		return "", b.atBase(err)
	}
	second, err := image.judge(0, layers)
	return strings.Trim(first+"; "+second, "; "), err
}

// atBase says of the error of a base image that does not fit where the Dockerfile names it.
func (b Build) atBase(err error) error {
	if err == nil || b.BaseBytes == 0 || b.BasePlace == "" {
		return err
	}
	return fmt.Errorf("%s: %w", b.BasePlace, err)
}

// judge refuses where there is less room than certainly needed, and warns where there is less than is likely to be.
func (r room) judge(certainly, likely int64) (warning string, err error) {
	if r.bytes < certainly || r.bytes == 0 || r.files == 0 {
		return "", fault.WithHint(
			fault.New(fault.BuildFailed, "refusing to build: %s, and a base image alone needs %s", r, size(certainly)),
			"give the container more room there (on Kubernetes ephemeral-storage, or a larger volume), or remove what fills it")
	}
	if r.bytes < likely+leastBytes || r.files >= 0 && r.files < leastFiles {
		return fmt.Sprintf("the disk may become full during the build: %s, and %s are likely to be needed", r, size(likely+leastBytes)), nil
	}
	return "", nil
}

func (r room) String() string {
	if r.files >= 0 && r.files < leastFiles {
		return fmt.Sprintf("%q has %s left, for %d files", r.path, size(r.bytes), r.files)
	}
	return fmt.Sprintf("%q has %s left", r.path, size(r.bytes))
}

func size(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }
