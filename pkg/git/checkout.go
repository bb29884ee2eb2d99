package git

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"dockline/pkg/fault"
)

// checkOut writes the files of a commit below dir, which holds nothing but .git. go-git's own way compares the work tree
// with the commit and with an index first, and takes ten times as long for 100,000 files; the index is of use only to who
// goes on working there.
//
// Nothing is written outside of dir: each folder is opened without following a link, and its files are made anew in it.
func checkOut(repo *gogit.Repository, commit *object.Commit, dir string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	tree, err := commit.Tree()
	if err != nil {
		return err
	}
	w := treeWriter{repo: repo, buffer: make([]byte, 32<<10)}
	return w.write(tree, root, "")
}

type treeWriter struct {
	repo   *gogit.Repository
	buffer []byte
}

// write writes the entries of a tree into a folder. At is the folder's path, for errors.
func (w treeWriter) write(tree *object.Tree, folder *os.Root, at string) error {
	for _, entry := range tree.Entries {
		shown := path.Join(at, entry.Name)
		if !mayBeNamed(entry.Name) {
			return fault.New(fault.Refused, "the repository holds a file of the name %q", shown)
		}
		var err error
		switch entry.Mode {
		case filemode.Dir:
			err = w.folder(entry, folder, shown)
		case filemode.Submodule:
			err = folder.Mkdir(entry.Name, 0o755)
		case filemode.Symlink:
			err = w.link(entry, folder)
		case filemode.Executable:
			err = w.file(entry, folder, 0o755)
		default:
			err = w.file(entry, folder, 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// mayBeNamed refuses what would lead elsewhere, and the repository's own folder.
func mayBeNamed(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/\x00") && !strings.EqualFold(name, gogit.GitDirName)
}

func (w treeWriter) folder(entry object.TreeEntry, parent *os.Root, at string) error {
	if err := parent.Mkdir(entry.Name, 0o755); err != nil {
		return err
	}
	tree, err := w.repo.TreeObject(entry.Hash)
	if err != nil {
		return fmt.Errorf("reading the folder %q: %w", at, err)
	}
	folder, err := parent.OpenRoot(entry.Name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return w.write(tree, folder, at)
}

// longestLink is more than any file system takes (PATH_MAX).
const longestLink = 4096

func (w treeWriter) link(entry object.TreeEntry, folder *os.Root) error {
	content, err := w.open(entry)
	if err != nil {
		return err
	}
	defer content.Close()
	target, err := io.ReadAll(io.LimitReader(content, longestLink+1))
	if err != nil {
		return err
	}
	return folder.Symlink(string(target), entry.Name)
}

func (w treeWriter) file(entry object.TreeEntry, folder *os.Root, mode os.FileMode) (err error) {
	content, err := w.open(entry)
	if err != nil {
		return err
	}
	defer content.Close()
	file, err := folder.OpenFile(entry.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{file}, content, w.buffer)
	if closed := file.Close(); err == nil {
		err = closed
	}
	return err
}

func (w treeWriter) open(entry object.TreeEntry) (io.ReadCloser, error) {
	blob, err := w.repo.BlobObject(entry.Hash)
	if err != nil {
		return nil, fmt.Errorf("reading the file %q: %w", entry.Name, err)
	}
	return blob.Reader()
}
