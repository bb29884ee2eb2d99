package kaniko

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// shellDir holds the image's shell and its fellows.
const shellDir = Dir + "/busybox"

// putBack restores, after a build has replaced the file system, what else works with the container needs and the built
// image does not have: the links by which a shell is found, and a folder for temporary files. GitLab's runner starts
// each script of a job (after_script, say) with a shell that it looks for, and the last two of its places are
// /bin/sh and /busybox/sh. What the built image has in these places stays: it may be needed where it is.
//
// Root is "/", except in tests.
func putBack(root string) error {
	if _, err := os.Stat(filepath.Join(root, shellDir, "sh")); err != nil {
		return nil //nolint:nilerr // a sandbox, which has no shell
	}
	var problems []error
	for link, target := range map[string]string{"/busybox": shellDir, "/bin/sh": shellDir + "/sh"} {
		path := filepath.Join(root, link)
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			continue
		}
		problems = append(problems, os.MkdirAll(filepath.Dir(path), 0o755), //nolint:gosec // like every /bin
			os.Symlink(target, path))
	}
	temporary := filepath.Join(root, "tmp")
	if err := os.Mkdir(temporary, 0o700); err == nil {
		problems = append(problems, os.Chmod(temporary, 0o777|fs.ModeSticky)) //nolint:gosec // like every /tmp
	} else if !errors.Is(err, fs.ErrExist) {
		problems = append(problems, err)
	}
	return errors.Join(problems...)
}
