package git

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// A pointer of Git LFS is a text of less than 1024 bytes that begins with its version's line (git-lfs, docs/spec.md). The
// second form is that of its first releases.
const longestPointer = 1023

var pointerVersions = [][]byte{
	[]byte("version https://git-lfs.github.com/spec/v1\n"), []byte("version https://hawser.github.com/spec/v1\n"),
}

// LFSPointers lists the files below dir, relative to it and in lexical order, that are pointers of Git LFS instead of what
// they stand for. What .gitattributes says is not asked: a file that it gives to Git LFS is well where its content is there.
// A path that skip returns true for is left out, and with a directory all that is in it. Links are not followed.
func LFSPointers(ctx context.Context, dir string, skip func(path string, isDir bool) (bool, error)) ([]string, error) {
	var found []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		if err != nil || name == "." {
			return err
		}
		skipped, err := skip(name, entry.IsDir())
		if err != nil {
			return err
		}
		if skipped && entry.IsDir() {
			return fs.SkipDir
		}
		if skipped || !entry.Type().IsRegular() {
			return nil
		}
		info, err := entry.Info()
		if err != nil || info.Size() > longestPointer || info.Size() < int64(len(pointerVersions[1])) {
			return err
		}
		pointer, err := isPointer(path)
		if pointer {
			found = append(found, name)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("looking for pointers of Git LFS: %w", err)
	}
	return found, nil
}

func isPointer(path string) (bool, error) {
	file, err := os.Open(path) //nolint:gosec // a file of the work tree
	if err != nil {
		return false, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, longestPointer))
	for _, version := range pointerVersions {
		if bytes.HasPrefix(text, version) && bytes.Contains(text, []byte("\noid sha256:")) && bytes.Contains(text, []byte("\nsize ")) {
			return true, err
		}
	}
	return false, err
}
