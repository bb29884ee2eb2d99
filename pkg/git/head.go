package git

import (
	"errors"
	"fmt"

	gogit "github.com/go-git/go-git/v5"

	"dockline/pkg/fault"
)

// Head returns the commit that is checked out in a work tree: dir or a directory above it must hold .git. The
// error's kind is NotFound where there is none.
func Head(dir string) (Commit, error) {
	repo, err := openWorkTree(dir)
	if err != nil {
		return Commit{}, err
	}
	head, err := repo.Head()
	if err != nil {
		return Commit{}, fault.New(fault.NotFound, "reading the commit of %q: %w", dir, err)
	}
	commit, err := repo.CommitObject(head.Hash())
	if err != nil {
		return Commit{}, fmt.Errorf("reading the commit of %q: %w", dir, err)
	}
	return describe(commit), nil
}

func openWorkTree(dir string) (*gogit.Repository, error) {
	repo, err := gogit.PlainOpenWithOptions(dir, &gogit.PlainOpenOptions{DetectDotGit: true, EnableDotGitCommonDir: true})
	if errors.Is(err, gogit.ErrRepositoryNotExists) {
		return nil, fault.New(fault.NotFound, "reading the commit of %q: it is no Git work tree", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the commit of %q: %w", dir, err)
	}
	return repo, nil
}
