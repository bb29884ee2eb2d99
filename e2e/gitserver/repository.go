package gitserver

import (
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// Files is the whole tree of a commit: path to content.
type Files map[string]File

// File is one entry of a tree.
type File struct {
	Content string
	// Mode is the entry's. The zero value means a regular file.
	Mode filemode.FileMode
	// Submodule is the commit of a submodule; it makes the entry one.
	Submodule string
}

// Text makes Files of regular files only.
func Text(files map[string]string) Files {
	out := Files{}
	for name, content := range files {
		out[name] = File{Content: content}
	}
	return out
}

// Link is a symbolic link.
func Link(target string) File { return File{Content: target, Mode: filemode.Symlink} }

// Executable is a regular file that may be run.
func Executable(content string) File { return File{Content: content, Mode: filemode.Executable} }

// Epoch is the time of a repository's first commit; each later one is a minute younger. Fixed times make the hashes
// the same in every run.
var Epoch = time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)

// Commit writes files as the next commit of a branch in the bare repository at dir, which it makes when it is not
// there, and returns the commit's hash. It does not look at the paths: a test may plant what Git itself would refuse.
func Commit(dir, branch, message string, files Files) (string, error) {
	repo, err := gogit.PlainOpen(dir)
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		repo, err = gogit.PlainInitWithOptions(dir, &gogit.PlainInitOptions{
			Bare: true, InitOptions: gogit.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName(branch)},
		})
	}
	if err != nil {
		return "", fmt.Errorf("opening %q: %w", dir, err)
	}
	tree, err := writeTree(repo.Storer, files)
	if err != nil {
		return "", err
	}
	name := plumbing.NewBranchReferenceName(branch)
	commit := &object.Commit{TreeHash: tree, Message: message}
	when := Epoch
	if parent, err := repo.Reference(name, true); err == nil {
		commit.ParentHashes = []plumbing.Hash{parent.Hash()}
		if before, err := repo.CommitObject(parent.Hash()); err == nil {
			when = before.Committer.When.Add(time.Minute)
		}
	}
	commit.Author = object.Signature{Name: "Release Manager", Email: "release@example.com", When: when}
	commit.Committer = commit.Author
	hash, err := write(repo.Storer, commit)
	if err != nil {
		return "", err
	}
	return hash.String(), repo.Storer.SetReference(plumbing.NewHashReference(name, hash))
}

// Tag makes a tag of a commit; with a message it is an annotated one.
func Tag(dir, name, commit, message string) error {
	repo, err := gogit.PlainOpen(dir)
	if err != nil {
		return fmt.Errorf("opening %q: %w", dir, err)
	}
	var options *gogit.CreateTagOptions
	if message != "" {
		tagger := object.Signature{Name: "Release Manager", Email: "release@example.com", When: Epoch}
		options = &gogit.CreateTagOptions{Tagger: &tagger, Message: message}
	}
	_, err = repo.CreateTag(name, plumbing.NewHash(commit), options)
	return err
}

// writeTree writes the tree of these files, directories first.
func writeTree(to storer.EncodedObjectStorer, files Files) (plumbing.Hash, error) {
	tree := &object.Tree{}
	below := map[string]Files{}
	for name, file := range files {
		if top, rest, nested := strings.Cut(name, "/"); nested {
			if below[top] == nil {
				below[top] = Files{}
			}
			below[top][rest] = file
			continue
		}
		entry, err := writeEntry(to, name, file)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tree.Entries = append(tree.Entries, entry)
	}
	for name, files := range below {
		hash, err := writeTree(to, files)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: hash})
	}
	sort.Sort(object.TreeEntrySorter(tree.Entries))
	return write(to, tree)
}

func writeEntry(to storer.EncodedObjectStorer, name string, file File) (object.TreeEntry, error) {
	if file.Submodule != "" {
		hash := plumbing.NewHash(file.Submodule)
		return object.TreeEntry{Name: name, Mode: filemode.Submodule, Hash: hash}, nil
	}
	mode := file.Mode
	if mode == 0 {
		mode = filemode.Regular
	}
	blob := to.NewEncodedObject()
	blob.SetType(plumbing.BlobObject)
	writer, err := blob.Writer()
	if err != nil {
		return object.TreeEntry{}, err
	}
	if _, err := writer.Write([]byte(file.Content)); err != nil {
		return object.TreeEntry{}, err
	}
	if err := writer.Close(); err != nil {
		return object.TreeEntry{}, err
	}
	hash, err := to.SetEncodedObject(blob)
	return object.TreeEntry{Name: name, Mode: mode, Hash: hash}, err
}

func write(to storer.EncodedObjectStorer, thing interface {
	Encode(plumbing.EncodedObject) error
},
) (plumbing.Hash, error) {
	encoded := to.NewEncodedObject()
	if err := thing.Encode(encoded); err != nil {
		return plumbing.ZeroHash, err
	}
	return to.SetEncodedObject(encoded)
}
