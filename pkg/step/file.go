package step

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// largestSecret bounds what is read of a file that is named as a secret, a CA or a list of credentials.
const largestSecret = 1 << 20

// writeFile writes content to path by way of a new file beside it and a rename, so that a reader sees the old content
// or the new one and never a part. A link at path is replaced, never followed. The file is readable by all: results
// and reports are read by other programs, often under another user.
//
// Its errors are of the kind Unavailable: the folder was found to be writable at the start.
func writeFile(path string, content []byte) error {
	err := replaceFile(path, content)
	if err == nil {
		return nil
	}
	return fault.WithHint(fault.New(fault.Unavailable, "writing %q: %w", path, err),
		"check that the folder is still there and may be written to, and that its disk is not full; then start this step again")
}

func replaceFile(path string, content []byte) (err error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // reports are for everyone
		return fmt.Errorf("making its folder: %w", err)
	}
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return errors.New("it is a folder")
	}
	temporary, err := os.CreateTemp(dir, ".dockline-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(temporary.Name())
		}
	}()
	_, err = temporary.Write(content)
	err = errors.Join(err, temporary.Chmod(0o644), temporary.Close()) //nolint:gosec // as above
	if err != nil {
		return err
	}
	return os.Rename(temporary.Name(), path)
}

// removeFile removes what an earlier run left at path; that nothing is there is fine. A link itself is removed, not
// what it names.
func removeFile(path string) error {
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		return fault.New(fault.Configuration, "removing the stale %q: it is a folder", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the stale %q: %w", path, err)
	}
	return nil
}

// writable says whether a file could be made at path.
func writable(path string) error {
	dir := filepath.Dir(path)
	for {
		info, err := os.Stat(dir)
		if errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		switch {
		case err != nil:
			return err
		case !info.IsDir():
			return fmt.Errorf("%q is not a folder", dir)
		}
		if err := unix.Access(dir, unix.W_OK|unix.X_OK); err != nil {
			return fmt.Errorf("the folder %q cannot be written to: %w", dir, err)
		}
		return nil
	}
}

// readSmallFile reads a file of at most 1 MiB.
func readSmallFile(path string) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the path is the user's setting
	if err != nil {
		return nil, err
	}
	defer file.Close()
	content, err := io.ReadAll(io.LimitReader(file, largestSecret+1))
	if err != nil {
		return nil, fmt.Errorf("reading %q: %w", path, err)
	}
	if len(content) > largestSecret {
		return nil, fmt.Errorf("reading %q: it is larger than 1 MiB", path)
	}
	return content, nil
}
