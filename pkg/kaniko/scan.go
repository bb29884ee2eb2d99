package kaniko

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// tree is what there is below a folder: what the kernel says of each path. A file whose content, attributes or number of
// links changes gets a new time of change (ctime), which no process can set: so nothing has to be read to see what a RUN
// did.
type tree map[string]stat

// stat is what counts of what stat(2) says.
type stat struct {
	inode, device     uint64
	size              int64
	modified, changed int64 // in nanoseconds
	mode, uid, gid    uint32
	links             uint32
}

func statOf(path string) (stat, error) {
	var s syscall.Stat_t
	if err := syscall.Lstat(path, &s); err != nil {
		return stat{}, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return stat{
		inode: s.Ino, device: s.Rdev, size: s.Size, modified: s.Mtim.Nano(), changed: s.Ctim.Nano(),
		mode: s.Mode, uid: s.Uid, gid: s.Gid, links: uint32(s.Nlink), //nolint:gosec,unconvert // as many as a file system allows; its type is the machine's
	}, nil
}

// scan looks at all that is below a folder, and at the folder itself. Where left says so of a path, it and what is below it
// is not looked at.
func scan(root string, left func(path string) bool) (tree, error) {
	found := tree{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if left != nil && path != root && left(path) {
			if entry.IsDir() {
				return filepath.SkipDir
			}
			return nil
		}
		found[path], err = statOf(path)
		return err
	})
	return found, err
}

// since compares: changed are the paths that are new or not as they were, gone the outermost of those that are not there
// any more, both in order.
func (after tree) since(before tree) (changed, gone []string) {
	for path, stat := range after {
		if old, there := before[path]; !there || !unchanged(old, stat) {
			changed = append(changed, path)
		}
	}
	for path := range before {
		if _, there := after[path]; there {
			continue
		}
		if _, above := after[filepath.Dir(path)]; above {
			gone = append(gone, path)
		}
	}
	slices.Sort(changed)
	slices.Sort(gone)
	return changed, gone
}

// unchanged compares a path with itself. A folder's size and number of links say nothing that its entries do not.
func unchanged(old, now stat) bool {
	if now.mode&syscall.S_IFMT == syscall.S_IFDIR {
		old.size, now.size, old.links, now.links = 0, 0, 0, 0
	}
	return old == now
}

// alike are changed files that have more than one name, of which more than one was there before: the first name → the others.
func (after tree) alike(before tree, changed []string) map[string][]string {
	first, others := map[uint64]string{}, map[string][]string{}
	for _, path := range changed {
		now, old := after[path], before[path]
		if now.links < 2 || old.links < 2 || old.inode != now.inode || now.mode&syscall.S_IFMT != syscall.S_IFREG {
			continue
		}
		if old.links, old.changed = now.links, now.changed; old == now {
			continue // it has a new name, and is as it was
		}
		if name, again := first[now.inode]; again {
			others[name] = append(others[name], path)
		} else {
			first[now.inode] = path
		}
	}
	return others
}

// clockStep is more than the kernel's clock for the times of files stands still between two steps (one tick: at most 10 ms).
const clockStep = 15 * time.Millisecond

// settle waits until a change of any of these paths is sure to get another time.
func settle(at tree) {
	var latest int64
	for _, stat := range at {
		latest = max(latest, stat.changed)
	}
	if wait := time.Until(time.Unix(0, latest).Add(clockStep)); wait > 0 {
		time.Sleep(min(wait, clockStep))
	}
}

// parentsOf lists the folders that lead to a path, the outermost first, without the root.
func parentsOf(path string) []string {
	var out []string
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		out = append(out, dir)
	}
	slices.Reverse(out)
	return out
}

// under says whether a path is one of these, or below one.
func under(path string, dirs []string) bool {
	return slices.ContainsFunc(dirs, func(dir string) bool {
		return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, "/")+"/")
	})
}
