package kaniko

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/osscontainertools/kaniko/pkg/util"
	"golang.org/x/sys/unix"
)

// findIgnored notes what is not the image's: Kaniko's folder and what is mounted.
func (e *execution) findIgnored() error {
	if err := util.InitIgnoreList(); err != nil {
		return err
	}
	around, err := look("/")
	if err != nil {
		return err
	}
	e.ignored = []string{Dir}
	for _, mount := range around.mounts {
		if mount.point != "/" {
			e.ignored = append(e.ignored, mount.point)
		}
		if below(mount.point, varRun) && !slices.Contains(e.ignored, varRun) {
			e.ignored = append(e.ignored, varRun)
		}
	}
	return nil
}

// varRun is a link in most images, which cannot be where Kubernetes mounts the token of a service account below it.
const varRun = "/var/run"

// clear empties the root.
func (e *execution) clear() error {
	e.on = nil
	return util.DeleteFilesystem()
}

// isSource says whether files are taken from a stage.
func (e *execution) isSource(s *stage) bool {
	for _, other := range e.recipe.stages {
		if !other.needed {
			continue
		}
		for _, step := range other.steps {
			for _, from := range step.sources {
				if from.stage == s {
					return true
				}
			}
		}
	}
	return false
}

// unpack makes the root that of a stage's base.
func (e *execution) unpack(s *stage, b *builtStage) error {
	if s.base != nil && e.on == s.base {
		e.on = s
		return nil // the files are there, as the base left them
	}
	if err := e.clear(); err != nil {
		return err
	}
	e.on = s
	if len(b.layers) == 0 {
		return nil
	}
	var err error
	b.has, err = unpackLayers("/", b.layers, e.isIgnored, systemFolders)
	return err
}

func (e *execution) isIgnored(path string) bool { return under(path, e.ignored) }

// folderOf is where the files of a stage or an image are.
func (e *execution) folderOf(from source) (string, error) {
	if from.stage != nil {
		return e.built[from.stage].folder, nil
	}
	if dir := e.images[from.image]; dir != "" {
		return dir, nil
	}
	image, err := e.fetch(from.image)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(e.work, "image-"+strconv.Itoa(len(e.images)))
	if err := os.Mkdir(dir, 0o755); err != nil { //nolint:gosec // a root
		return "", err
	}
	layers, err := image.Layers()
	if err != nil {
		return "", err
	}
	if _, err := unpackLayers(dir, layers, func(string) bool { return false }, nil); err != nil {
		return "", err
	}
	e.images[from.image] = dir
	return dir, nil
}

// keep moves the files of a stage to where later ones find them.
func (e *execution) keep(s *stage, b *builtStage) error {
	b.folder = filepath.Join(e.work, "stage-"+strconv.Itoa(s.index))
	if err := os.Mkdir(b.folder, 0o755); err != nil { //nolint:gosec // a root
		return err
	}
	if err := e.moveAll("/", b.folder); err != nil {
		return fmt.Errorf("keeping the files of stage %d: %w", s.index, err)
	}
	return e.clear()
}

// moveAll moves what is in a folder, but for what is ignored.
func (e *execution) moveAll(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		old, moved := filepath.Join(from, entry.Name()), filepath.Join(to, entry.Name())
		switch {
		case e.isIgnored(old):
		case e.holdsIgnored(old):
			if err := cloneFolder(old, moved); err != nil {
				return err
			}
			if err := e.moveAll(old, moved); err != nil {
				return err
			}
		default:
			if err := util.MoveDir(old, moved); err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *execution) holdsIgnored(dir string) bool {
	for _, path := range e.ignored {
		if under(path, []string{dir}) {
			return true
		}
	}
	return false
}

// cloneFolder makes a folder like another, without what is in it.
func cloneFolder(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	var stat unix.Stat_t
	if err := unix.Stat(from, &stat); err != nil {
		return err
	}
	return errors.Join(os.Mkdir(to, info.Mode().Perm()), os.Lchown(to, int(stat.Uid), int(stat.Gid)), os.Chmod(to, info.Mode()))
}
