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
	"syscall"
	"time"

	"dockline/pkg/fault"
)

// ownFolders hold the programs that later commands of the same container run, since they come first on the image's PATH,
// and what these trust.
var ownFolders = []string{Dir + "/bin", shellDir, Dir + "/ssl"}

// largestOwn is how much of a file is read. All of ours are smaller; what a build puts there could be endless.
const largestOwn = 1 << 28

// own is what was in ownFolders before a build. What the kernel says of a file is enough while nothing has touched it (see
// tree). Only of one that was touched, be it to give it another owner, is the content compared: it is read beside the
// build.
type own struct {
	files tree
	at    time.Time
	read  chan struct{}     // closed when contents is whole
	holds map[string]string // what each path holds; not those that were touched before they were read
	err   error             // why contents is not whole
}

// readOwn looks at the files below root, and begins to read them.
func readOwn(root string) (*own, error) {
	before := &own{at: time.Now(), read: make(chan struct{}), holds: map[string]string{}}
	var err error
	if before.files, err = scanOwn(root); err != nil {
		return nil, err
	}
	go func() {
		defer close(before.read)
		defer fault.Catch(&before.err)
		for path, seen := range before.files {
			holds, err := describe(path, seen)
			if now, lost := statOf(path); err == nil && lost == nil && now == seen {
				before.holds[path] = holds
			}
		}
	}()
	return before, nil
}

func scanOwn(root string) (tree, error) {
	found := tree{}
	for _, folder := range ownFolders {
		below, err := scan(filepath.Join(root, folder), nil)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a sandbox has not all of them
		}
		if err != nil {
			return nil, fmt.Errorf("reading what must not be changed: %w", err)
		}
		maps.Copy(found, below)
	}
	return found, nil
}

// describe tells two files apart that do not do the same.
func describe(path string, seen stat) (string, error) {
	switch kind := seen.mode & syscall.S_IFMT; kind {
	case syscall.S_IFLNK:
		target, err := os.Readlink(path)
		return "link to " + target, err
	case syscall.S_IFREG:
		file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			return "", err
		}
		defer file.Close()
		hash := sha256.New()
		_, err = io.CopyN(hash, file, min(seen.size, largestOwn))
		return fmt.Sprintf("file of %d bytes %x", seen.size, hash.Sum(nil)), err
	default:
		return fmt.Sprintf("no file but %o", kind), nil
	}
}

// check refuses what a build has changed, once all of its processes have ended. A RUN can write there, and so can a layer
// of a base image, by way of a link in it to /kaniko. The next line of a script would run it, with all that the script's
// environment holds; in GitLab it comes only after a step that ended well.
func (before *own) check(root string) error {
	after, err := scanOwn(root)
	if err != nil {
		return fault.As(fault.BuildFailed, err)
	}
	for _, path := range slices.Sorted(maps.Keys(after)) {
		same, err := before.same(path, after[path])
		if err != nil {
			return err
		}
		if !same {
			return changed(path)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(before.files)) {
		if _, there := after[path]; !there {
			return changed(path)
		}
	}
	return nil
}

// same tells whether a path holds what it held.
func (before *own) same(path string, now stat) (bool, error) {
	old, known := before.files[path]
	if known && old == now && time.Unix(0, old.changed).Add(clockStep).Before(before.at) {
		return true, nil
	}
	<-before.read
	if before.err != nil {
		return false, before.err
	}
	held, known := before.holds[path]
	if !known {
		return false, nil
	}
	holds, err := describe(path, now)
	return holds == held, fault.As(fault.BuildFailed, err)
}

func changed(path string) error {
	return fault.WithHint(
		fault.New(fault.BuildFailed, "the build has changed %q, which later commands of this container would run or trust", path),
		"find out which RUN or base image writes below "+Dir+", and run nothing more in this container")
}
