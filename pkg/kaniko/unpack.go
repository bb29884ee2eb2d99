package kaniko

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	confined "github.com/containerd/continuity/fs"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// unpacker lays the layers of an image out in a folder, which is "/" for what is built on the image. No link of a layer
// leads out of the folder, and what is not the image's is left alone.
type unpacker struct {
	root    string
	ignored func(path string) bool // of a path on this machine
	folders map[string]time.Time   // whose times are set at the end, since writing into them changes them
	seen    map[string]bool        // the paths of the layer, in the image
	skipped string                 // the first that could not be made
}

// unpackLayers lays out layers, the lowest first, and says which of some paths of the image are among theirs.
func unpackLayers(root string, layers []v1.Layer, ignored func(string) bool, of []string) (has map[string]bool, err error) {
	has = map[string]bool{}
	u := &unpacker{root: root, ignored: ignored, folders: map[string]time.Time{}}
	for _, layer := range layers {
		u.seen = map[string]bool{}
		if err := u.layer(layer); err != nil {
			return nil, err
		}
		for _, name := range of {
			has[name] = has[name] || u.seen[name]
		}
	}
	for dir, modified := range u.folders {
		if err := setTime(dir, modified); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if u.skipped != "" {
		logrus.Warnf("The build has no right to make devices: %q of a base image is not there for RUN and COPY --from", u.skipped)
	}
	return has, nil
}

func (u *unpacker) layer(layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading a layer: %w", err)
		}
		name := path.Clean("/" + header.Name)
		if err := u.entry(name, header, archive); err != nil {
			return fmt.Errorf("unpacking %q: %w", name, err)
		}
		u.seen[name] = true
	}
}

func (u *unpacker) entry(name string, header *tar.Header, content io.Reader) error {
	if name == "/" {
		return nil // the root is the container's
	}
	dir, base := path.Split(name)
	parent, err := confined.RootPath(u.root, dir)
	if err != nil {
		return err
	}
	target := filepath.Join(parent, base)
	if hidden, is := strings.CutPrefix(base, ".wh."); is {
		if hidden == "" || hidden == "." || hidden == ".." {
			return errors.New("it hides no file of its folder")
		}
		if hidden == ".wh..opq" {
			return u.hideAll(name, parent)
		}
		return u.remove(filepath.Join(parent, hidden))
	}
	if u.ignored(target) || u.ignored(filepath.Join(u.root, name)) {
		return nil
	}
	if err := os.MkdirAll(parent, 0o755); err != nil { //nolint:gosec // as every engine does
		return err
	}
	if done, err := u.create(target, header, content); err != nil || done {
		return err
	}
	return u.describe(target, header)
}

// create makes a file. It is done when there is nothing to be said of it: it is another's name, or could not be made.
func (u *unpacker) create(target string, header *tar.Header, content io.Reader) (done bool, err error) {
	mode := header.FileInfo().Mode()
	there, err := os.Lstat(target)
	if err == nil && (!there.IsDir() || header.Typeflag != tar.TypeDir) {
		if err := u.remove(target); err != nil {
			return false, err
		}
	}
	switch header.Typeflag {
	case tar.TypeDir:
		u.folders[target] = header.ModTime
		if err == nil && there.IsDir() {
			return false, nil
		}
		return false, os.Mkdir(target, mode.Perm())
	case tar.TypeReg:
		file, err := os.OpenFile(target, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return false, err
		}
		_, err = io.Copy(file, content)
		return false, errors.Join(err, file.Close())
	case tar.TypeSymlink:
		return false, os.Symlink(header.Linkname, target)
	case tar.TypeLink:
		dir, base := path.Split(path.Clean("/" + header.Linkname))
		parent, err := confined.RootPath(u.root, dir)
		if err != nil {
			return false, err
		}
		other := filepath.Join(parent, base)
		if u.ignored(other) {
			return true, nil
		}
		return true, os.Link(other, target)
	case tar.TypeChar, tar.TypeBlock, tar.TypeFifo:
		kinds := map[byte]uint32{tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO}
		device := unix.Mkdev(uint32(header.Devmajor), uint32(header.Devminor))             //nolint:gosec // of a device
		err := unix.Mknod(target, kinds[header.Typeflag]|uint32(mode.Perm()), int(device)) //nolint:gosec // of a device
		if errors.Is(err, unix.EPERM) {
			u.skipped = target
			return true, nil
		}
		return false, err
	}
	return true, nil // of an archive's own, such as a comment
}

// describe gives a file its owner, mode, attributes and time.
func (u *unpacker) describe(target string, header *tar.Header) error {
	if err := os.Lchown(target, header.Uid, header.Gid); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeSymlink {
		if err := os.Chmod(target, header.FileInfo().Mode()); err != nil {
			return err
		}
	}
	for key, value := range header.PAXRecords {
		if name, is := strings.CutPrefix(key, "SCHILY.xattr."); is {
			if err := unix.Lsetxattr(target, name, []byte(value), 0); err != nil && ignoreUnsupported(err) != nil {
				return fmt.Errorf("setting %q: %w", name, err)
			}
		}
	}
	if header.Typeflag == tar.TypeDir {
		return nil
	}
	return setTime(target, header.ModTime)
}

func setTime(target string, modified time.Time) error {
	at, err := unix.TimeToTimespec(modified)
	if err != nil || modified.IsZero() {
		at = unix.Timespec{}
	}
	if err := unix.UtimesNanoAt(unix.AT_FDCWD, target, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "utimensat", Path: target, Err: err}
	}
	return nil
}

// remove removes a path, but for what is ignored, and what leads to that.
func (u *unpacker) remove(target string) error {
	if u.ignored(target) {
		return nil
	}
	info, err := os.Lstat(target)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	delete(u.folders, target)
	if !info.IsDir() {
		return os.Remove(target)
	}
	entries, err := os.ReadDir(target)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		if err := u.remove(filepath.Join(target, entry.Name())); err != nil {
			return err
		}
	}
	if err := os.Remove(target); err != nil && !errors.Is(err, unix.ENOTEMPTY) && !errors.Is(err, unix.EBUSY) {
		return err
	}
	return nil
}

// hideAll removes what lower layers have in a folder, and not what this one has put there already.
func (u *unpacker) hideAll(name, parent string) error {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return ignoreAbsent(err)
	}
	for _, entry := range entries {
		if u.seen[path.Join(path.Dir(name), entry.Name())] {
			continue
		}
		if err := u.remove(filepath.Join(parent, entry.Name())); err != nil {
			return err
		}
	}
	return nil
}

func ignoreAbsent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
