package kaniko

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"dockline/pkg/fault"
)

// ownFolders hold the programs that later commands of the same container run, since they come first on the image's PATH,
// and what these trust.
var ownFolders = []string{Dir + "/bin", shellDir, Dir + "/ssl"}

// largestOwn is how much of a file is read. All of ours are smaller; what a build puts there could be endless.
const largestOwn = 1 << 28

// own is what was in ownFolders before a build: what each file holds, by its path.
type own map[string]string

// readOwn reads the files below root.
func readOwn(root string) (own, error) {
	found := own{}
	for _, folder := range ownFolders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // a sandbox has not all of them
			}
			if err == nil {
				found[path], err = describe(path, entry.Type())
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("reading what must not be changed: %w", err)
		}
	}
	return found, nil
}

// describe tells two files apart that do not do the same.
func describe(path string, kind fs.FileMode) (string, error) {
	switch kind {
	case fs.ModeSymlink:
		target, err := os.Readlink(path)
		return "link to " + target, err
	case 0:
		file, err := os.Open(path) //nolint:gosec // ours
		if err != nil {
			return "", err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return "", err
		}
		hash := sha256.New()
		_, err = io.CopyN(hash, file, min(info.Size(), largestOwn))
		return fmt.Sprintf("file of %d bytes %x", info.Size(), hash.Sum(nil)), err
	}
	return kind.String(), nil
}

// check refuses what a build has changed. A RUN can write there, and so can a layer of a base image, by way of a link in
// it to /kaniko. The next line of a script would run it, with all that the script's environment holds; in GitLab it comes
// only after a step that ended well.
func (before own) check(root string) error {
	after, err := readOwn(root)
	if err != nil {
		return fault.As(fault.BuildFailed, err)
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		if before[path] != after[path] {
			return changed(path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(before)) {
		if _, there := after[path]; !there {
			return changed(path)
		}
	}
	return nil
}

func changed(path string) error {
	return fault.WithHint(
		fault.New(fault.BuildFailed, "the build has changed %q, which later commands of this container would run or trust", path),
		"find out which RUN or base image writes below "+Dir+", and run nothing more in this container")
}
