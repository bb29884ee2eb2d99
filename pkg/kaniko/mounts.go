package kaniko

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"

	confined "github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/osscontainertools/kaniko/pkg/util"
	fscopy "github.com/tonistiigi/fsutil/copy"
)

// mounts puts in place what a RUN mounts, and takes it away again. A build has no right to mount anything, so files are
// moved, or copied, and what was there waits elsewhere meanwhile.
type mounts struct {
	*execution
	*state

	back []func() error // in the order in which they were put
}

// errWritten is of a RUN that changed what BuildKit would not have let it change.
var errWritten = errors.New("the command wrote to a mount that is read-only; say rw, or write elsewhere")

// all puts a RUN's mounts in place, and returns what of secrets goes into its environment.
func (m *mounts) all(step step, wanted []*instructions.Mount) (environment []string, err error) {
	for i, mount := range wanted {
		target := mount.Target
		if target != "" && !path.IsAbs(target) {
			target = path.Join("/", m.config.Config.WorkingDir, target)
		}
		target = path.Clean(target)
		if target == "/" {
			return nil, errors.New("nothing can be mounted at /")
		}
		var from source
		if i < len(step.sources) {
			from = step.sources[i]
		}
		switch mount.Type {
		case instructions.MountTypeSecret:
			variable, err := m.secret(mount, target)
			if err != nil {
				return nil, err
			}
			environment = append(environment, variable...)
		case instructions.MountTypeBind:
			err = m.bind(mount, target, from)
		case instructions.MountTypeCache:
			err = m.cache(mount, target, from)
		case instructions.MountTypeTmpfs:
			err = m.tmpfs(target)
		case instructions.MountTypeSSH:
			if mount.Required {
				return nil, errors.New("there is no ssh agent to offer")
			}
		}
		if err != nil {
			return nil, fmt.Errorf("mounting %q: %w", target, err)
		}
	}
	return environment, nil
}

// undo takes all away.
func (m *mounts) undo() error {
	var problems []error
	for _, undo := range slices.Backward(m.back) {
		problems = append(problems, undo())
	}
	m.back = nil
	return errors.Join(problems...)
}

// place makes room at a path: what is there is moved away, and folders on the way are made. What is put there is to be
// gone before undo.
func (m *mounts) place(target string) (real string, err error) {
	if err := m.makeFolder(path.Dir(target)); err != nil {
		return "", err
	}
	if real, err = confined.RootPath("/", target); err != nil { // a link at the path itself is followed
		return "", err
	}
	aside := filepath.Join(m.work, "aside-"+strconv.Itoa(m.nextNumber()))
	err = util.MoveDir(real, aside)
	if errors.Is(err, fs.ErrNotExist) {
		return real, nil
	}
	if err != nil {
		return "", err
	}
	m.back = append(m.back, func() error { return util.MoveDir(aside, real) })
	return real, nil
}

// makeFolder makes a folder for the time of the RUN, if it is not there.
func (m *mounts) makeFolder(dir string) error {
	real, err := confined.RootPath("/", dir)
	if err != nil {
		return err
	}
	first := ""
	for at := real; ; at = path.Dir(at) {
		if _, err := os.Lstat(at); err == nil {
			break
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		first = at
	}
	if first == "" {
		return nil
	}
	m.back = append(m.back, func() error { return removeEmpty(real, path.Dir(first)) })
	return os.MkdirAll(real, 0o755) //nolint:gosec // as an engine makes them
}

// removeEmpty removes folders upwards, up to one that stays, as far as they are empty.
func removeEmpty(dir, until string) error {
	for ; dir != until; dir = path.Dir(dir) {
		if err := os.Remove(dir); err != nil {
			return nil //nolint:nilerr // the RUN has put something there
		}
	}
	return nil
}

func (m *mounts) nextNumber() int {
	m.number++
	return m.number
}

// bind shows files of the context, a stage or an image.
func (m *mounts) bind(mount *instructions.Mount, target string, from source) error {
	root, excludes := m.context.root, []string(nil)
	owner := fixed(fscopy.User{})
	if mount.From != "" {
		var err error
		if root, err = m.folderOf(from); err != nil {
			return err
		}
		owner = nil
	} else {
		excludes = m.context.excludes(mount.Source)
		if !m.context.has(mount.Source) {
			return m.context.missing(mount.Source)
		}
	}
	real, err := m.place(target)
	if err != nil {
		return err
	}
	m.back = append(m.back, func() error { return os.RemoveAll(real) })
	name := path.Clean("/" + mount.Source)
	if err := m.fill(root, name, real, owner, excludes); err != nil {
		return err
	}
	if !mount.ReadOnly {
		return nil
	}
	return m.watch(real)
}

// fill copies a file, or what is in a folder.
func (m *mounts) fill(root, name, to string, owner fscopy.Chowner, excludes []string) error {
	err := fscopy.Copy(context.Background(), root, name, "/", to, fscopy.WithCopyInfo(fscopy.CopyInfo{
		Chown: owner, CopyDirContents: true, FollowLinks: true, ExcludePatterns: excludes,
		XAttrErrorHandler: func(string, string, string, error) error { return nil },
	}))
	if errors.Is(err, fs.ErrNotExist) && root == m.context.root {
		return m.context.missing(name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return missingFrom(name)
	}
	return err
}

// watch has undo fail if something below a path was changed.
func (m *mounts) watch(real string) error {
	before, err := scan(real, nil)
	if err != nil {
		return err
	}
	settle(before)
	m.back = append(m.back, func() error {
		after, err := scan(real, nil)
		if err != nil {
			return err
		}
		if changed, gone := after.since(before); len(changed)+len(gone) > 0 {
			return errWritten
		}
		return nil
	})
	return nil
}

// cache shows a folder that lasts as long as the build.
func (m *mounts) cache(mount *instructions.Mount, target string, from source) error {
	id := mount.CacheID
	if id == "" {
		id = path.Clean(mount.Target)
	}
	hash := sha256.Sum256([]byte(id))
	kept := filepath.Join(m.work, "cache-"+hex.EncodeToString(hash[:]))
	if _, err := os.Stat(kept); errors.Is(err, fs.ErrNotExist) {
		if err := m.newCache(kept, mount, from); err != nil {
			return err
		}
	}
	real, err := m.place(target)
	if err != nil {
		return err
	}
	if err := util.MoveDir(kept, real); err != nil {
		return err
	}
	m.back = append(m.back, func() error { return util.MoveDir(real, kept) })
	if mount.ReadOnly {
		return m.watch(real)
	}
	return nil
}

func (m *mounts) newCache(dir string, mount *instructions.Mount, from source) error {
	if mount.From != "" {
		root, err := m.folderOf(from)
		if err != nil {
			return err
		}
		return m.fill(root, path.Clean("/"+mount.Source), dir, nil, nil)
	}
	mode, owner := fs.FileMode(0o755), fscopy.User{}
	if mount.Mode != nil {
		mode = fs.FileMode(*mount.Mode).Perm()
	}
	if mount.UID != nil {
		owner.UID = int(*mount.UID) //nolint:gosec // 32 bits
	}
	if mount.GID != nil {
		owner.GID = int(*mount.GID) //nolint:gosec // 32 bits
	}
	if err := os.Mkdir(dir, mode); err != nil {
		return err
	}
	return os.Chown(dir, owner.UID, owner.GID)
}

// tmpfs shows an empty folder.
func (m *mounts) tmpfs(target string) error {
	mode := fs.FileMode(0o755)
	if info, err := os.Stat(target); err == nil {
		mode = info.Mode() // a mounted one takes it over
	}
	real, err := m.place(target)
	if err != nil {
		return err
	}
	m.back = append(m.back, func() error { return os.RemoveAll(real) })
	return os.Mkdir(real, mode)
}

// secretID is the id of the build secret that is mounted.
func secretID(mount *instructions.Mount) string {
	switch {
	case mount.Source != "":
		return mount.Source
	case mount.CacheID != "":
		return mount.CacheID
	}
	return path.Base(mount.Target)
}

// secret shows a build secret as a file, in a variable, or both.
func (m *mounts) secret(mount *instructions.Mount, target string) (environment []string, err error) {
	id := secretID(mount)
	value, given := m.told.Secrets[id]
	if !given {
		if mount.Required {
			return nil, fmt.Errorf("the build secret %q is required, and not given", id)
		}
		return nil, nil
	}
	if mount.Env != nil {
		name := *mount.Env
		if name == "" {
			name = id
		}
		environment = []string{name + "=" + string(value)}
		if mount.Target == "" {
			return environment, nil
		}
	}
	if mount.Target == "" {
		target = "/run/secrets/" + id
	}
	real, err := m.place(target)
	if err != nil {
		return nil, err
	}
	mode, uid, gid := fs.FileMode(0o400), 0, 0
	if mount.Mode != nil {
		mode = fs.FileMode(*mount.Mode).Perm()
	}
	if mount.UID != nil {
		uid = int(*mount.UID) //nolint:gosec // 32 bits
	}
	if mount.GID != nil {
		gid = int(*mount.GID) //nolint:gosec // 32 bits
	}
	m.back = append(m.back, func() error { return os.RemoveAll(real) })
	return environment, errors.Join(os.WriteFile(real, value, mode), os.Chown(real, uid, gid))
}

// script writes a script, and returns where a RUN finds it.
func (m *mounts) script(text *string) (string, error) {
	dir, err := os.MkdirTemp(m.work, "script-")
	if err != nil {
		return "", err
	}
	m.back = append(m.back, func() error { return os.RemoveAll(dir) })
	file := filepath.Join(dir, "script")
	return file, errors.Join(os.Chmod(dir, 0o755), os.WriteFile(file, []byte(*text), 0o755)) //nolint:gosec // whoever USER is runs it
}
