package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"dockline/pkg/fault"
)

// CheckWorkTree holds the rules against the commit that is checked out in a work tree, and returns its signer where they
// ask for a signature. Then every file below dir must be as that commit has it, and no other may be there: a signature
// says nothing of what was changed since. What .git holds is not looked at. A tag that the repository does not have is
// refused only where it must be signed.
//
// The errors' kinds are Refused, by the rules, and NotFound, where there is no work tree of Git.
func CheckWorkTree(ctx context.Context, dir string, rules Rules) (signer string, err error) {
	if err := rules.validate(rules.Tag); err != nil {
		return "", err
	}
	repo, err := openWorkTree(dir)
	if err != nil {
		return "", err
	}
	head, err := repo.Head()
	if err != nil {
		return "", fault.New(fault.NotFound, "reading the commit of %q: %w", dir, err)
	}
	commit, err := repo.CommitObject(head.Hash())
	if err != nil {
		return "", fmt.Errorf("reading the commit of %q: %w", dir, err)
	}
	at, leadsTo := target{hash: commit.Hash}, commit
	if rules.Tag != "" {
		if at, leadsTo, err = tagOf(repo, rules, at, commit); err != nil {
			return "", err
		}
	}
	signer, err = rules.check(repo, at, leadsTo, commit.Hash.String())
	if err != nil || rules.Signed == "" {
		return "", err
	}
	if err := unchanged(ctx, repo, commit, dir); err != nil {
		return "", err
	}
	return signer, nil
}

// tagOf is where the rules' tag leads, and without such a tag where the work tree is.
func tagOf(repo *gogit.Repository, rules Rules, head target, commit *object.Commit) (target, *object.Commit, error) {
	tag, err := repo.Tag(rules.Tag)
	switch {
	case errors.Is(err, gogit.ErrTagNotFound) && rules.Signed != SignedTag:
		return head, commit, nil
	case errors.Is(err, gogit.ErrTagNotFound):
		return target{}, nil, fault.WithHint(
			fault.New(fault.Refused, "checking the signature of the tag %q: the work tree does not have it", rules.Tag),
			"fetch the tag into the work tree, or let this step clone (GIT_URL)")
	case err != nil:
		return target{}, nil, fmt.Errorf("reading the tag %q: %w", rules.Tag, err)
	}
	leadsTo, err := peel(repo, tag.Hash())
	if err != nil {
		return target{}, nil, fmt.Errorf("reading the tag %q: %w", rules.Tag, err)
	}
	return named(tag), leadsTo, nil
}

// unchanged refuses a work tree that is not what the commit says.
func unchanged(ctx context.Context, repo *gogit.Repository, commit *object.Commit, dir string) error {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return err
	}
	tree, err := treeAt(repo, commit, dir)
	if err != nil {
		return err
	}
	found, err := differences(ctx, repo, tree, dir)
	if err != nil || len(found) == 0 {
		return err
	}
	const shown = 3
	slices.Sort(found)
	more := ""
	if len(found) > shown {
		more = fmt.Sprintf(" and %d more", len(found)-shown)
		found = found[:shown]
	}
	return fault.WithHint(fault.New(fault.Refused,
		"the work tree is not that of the signed commit %s: %s%s", commit.Hash, strings.Join(found, ", "), more),
		"build from a work tree in which nothing else was done, or let this step clone (GIT_URL)")
}

// treeAt is the commit's tree at dir, a path without links, which may be a folder of the work tree.
func treeAt(repo *gogit.Repository, commit *object.Commit, dir string) (plumbing.Hash, error) {
	if err := genuine(repo, commit.Hash); err != nil {
		return plumbing.ZeroHash, err
	}
	worktree, err := repo.Worktree()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	top, err := filepath.EvalSymlinks(worktree.Filesystem.Root())
	if err != nil {
		return plumbing.ZeroHash, err
	}
	below, err := filepath.Rel(top, dir)
	if err != nil || below == "." {
		return commit.TreeHash, err
	}
	at := commit.TreeHash
	for _, name := range strings.Split(filepath.ToSlash(below), "/") {
		tree, err := genuineTree(repo, at)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		index := slices.IndexFunc(tree.Entries, func(e object.TreeEntry) bool { return e.Name == name && e.Mode == filemode.Dir })
		if index < 0 {
			return plumbing.ZeroHash, fault.New(fault.Refused, "the signed commit %s has no folder %q", commit.Hash, below)
		}
		at = tree.Entries[index].Hash
	}
	return at, nil
}

// genuine refuses an object whose content has another hash than its name says: whoever can write to .git can put any
// content there.
func genuine(repo *gogit.Repository, hash plumbing.Hash) error {
	found, err := repo.Storer.EncodedObject(plumbing.AnyObject, hash)
	if err != nil {
		return err
	}
	reader, err := found.Reader()
	if err != nil {
		return err
	}
	defer reader.Close() //nolint:errcheck // it is only read
	content, err := io.ReadAll(reader)
	if err != nil {
		return err
	}
	if plumbing.ComputeHash(found.Type(), content) != hash {
		return fault.New(fault.Refused, "object %s of the work tree's repository is not what its name says", hash)
	}
	return nil
}

func genuineTree(repo *gogit.Repository, hash plumbing.Hash) (*object.Tree, error) {
	if err := genuine(repo, hash); err != nil {
		return nil, err
	}
	return repo.TreeObject(hash)
}

// list adds the files of a tree, by path.
func list(repo *gogit.Repository, tree plumbing.Hash, below string, to map[string]object.TreeEntry) error {
	read, err := genuineTree(repo, tree)
	if err != nil {
		return err
	}
	for _, entry := range read.Entries {
		name := path.Join(below, entry.Name)
		if entry.Mode != filemode.Dir {
			to[name] = entry
		} else if err := list(repo, entry.Hash, name, to); err != nil {
			return err
		}
	}
	return nil
}

// differences tells what in dir is not as the tree has it: `"a" was added`.
func differences(ctx context.Context, repo *gogit.Repository, tree plumbing.Hash, dir string) ([]string, error) {
	entries := map[string]object.TreeEntry{}
	if err := list(repo, tree, "", entries); err != nil {
		return nil, err
	}
	var found []string
	err := filepath.WalkDir(dir, func(at string, file fs.DirEntry, err error) error {
		if err := errors.Join(err, ctx.Err()); err != nil {
			return err
		}
		name, err := filepath.Rel(dir, at)
		if err != nil || name == "." {
			return err
		}
		name = filepath.ToSlash(name)
		entry, known := entries[name]
		switch {
		case name == gogit.GitDirName && file.IsDir():
			return fs.SkipDir
		case name == gogit.GitDirName:
			return nil
		case file.IsDir() && !known:
			return nil // Git knows no folders, but those with files
		case !known:
			found = append(found, fmt.Sprintf("%q was added", name))
			return nil
		}
		delete(entries, name)
		same, err := sameEntry(at, file, entry)
		if err == nil && !same {
			found = append(found, fmt.Sprintf("%q was changed", name))
		}
		if err == nil && file.IsDir() {
			return fs.SkipDir
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("comparing the work tree with its commit: %w", err)
	}
	for name, entry := range entries {
		if entry.Mode != filemode.Submodule {
			found = append(found, fmt.Sprintf("%q is missing", name))
		}
	}
	return found, nil
}

// sameEntry compares a file with what the tree says of it. A submodule must be empty: its files are those of another
// repository, which is not looked at.
func sameEntry(at string, file fs.DirEntry, entry object.TreeEntry) (bool, error) {
	switch {
	case entry.Mode == filemode.Submodule:
		inside, err := os.ReadDir(at)
		return file.IsDir() && len(inside) == 0, err
	case entry.Mode == filemode.Symlink && file.Type() == fs.ModeSymlink:
		leads, err := os.Readlink(at)
		return plumbing.ComputeHash(plumbing.BlobObject, []byte(leads)) == entry.Hash, err
	case entry.Mode == filemode.Symlink || !file.Type().IsRegular():
		return false, nil
	}
	info, err := file.Info()
	if err != nil {
		return false, err
	}
	if executable := info.Mode().Perm()&0o100 != 0; executable != (entry.Mode == filemode.Executable) {
		return false, nil
	}
	content, err := os.Open(at) //nolint:gosec // a file of the work tree
	if err != nil {
		return false, err
	}
	defer content.Close()
	hasher := plumbing.NewHasher(plumbing.BlobObject, info.Size())
	if _, err := io.Copy(hasher, content); err != nil {
		return false, err
	}
	return hasher.Sum() == entry.Hash, nil
}
