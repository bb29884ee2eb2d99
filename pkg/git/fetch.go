package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"

	"dockline/pkg/fault"
)

// fetched is the local name of the one commit that is cloned.
const fetched = plumbing.ReferenceName("refs/dockline/commit")

// fetch makes a repository in dir that holds the revision: by itself where the server allows it, else with its
// whole history.
func (a *access) fetch(ctx context.Context, from address, revision, dir string) (*gogit.Repository, target, error) {
	remote, repo, err := a.newRemote(from, dir)
	if err != nil {
		return nil, target{}, err
	}
	ctx = withAdvertised(ctx)
	var refs []*plumbing.Reference
	err = a.retry(ctx, func() error {
		refs, err = remote.ListContext(ctx, &gogit.ListOptions{Auth: a.authFor(from)})
		return classify(err)
	})
	if err != nil {
		return nil, target{}, err
	}
	at, err := resolve(revision, refs)
	if err != nil {
		return nil, target{}, err
	}

	var failed error
	for _, attempt := range a.attempts(from, at) {
		failed = a.retry(ctx, func() error { return classify(remote.FetchContext(ctx, attempt)) })
		if failed == nil {
			at.hash, failed = arrived(repo, at)
		}
		if failed == nil {
			return repo, at, nil
		}
		if kind := fault.KindOf(failed); kind != fault.Unexpected && kind != fault.NotFound {
			return nil, target{}, failed
		}
		if ctx.Err() != nil {
			return nil, target{}, context.Cause(ctx)
		}
		// What a failed attempt left, such as the marks of a shallow clone, must not confuse the next one.
		if remote, repo, err = a.newRemote(from, dir); err != nil {
			return nil, target{}, err
		}
	}
	if errors.Is(failed, plumbing.ErrObjectNotFound) {
		return nil, target{}, fault.New(fault.NotFound, "resolving %q: the repository has no such commit", revision)
	}
	return nil, target{}, fmt.Errorf("fetching %q: %w", revision, failed)
}

// attempts lists the ways to fetch a revision, the cheapest first.
func (a *access) attempts(from address, at target) []*gogit.FetchOptions {
	fetch := func(depth int, specs ...config.RefSpec) *gogit.FetchOptions {
		return &gogit.FetchOptions{
			RefSpecs: specs, Depth: depth, Tags: gogit.NoTags, Force: true,
			Auth: a.authFor(from), Progress: a.progress,
		}
	}
	all := fetch(0, "+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
	byName := config.RefSpec(fmt.Sprintf("+%s:%s", at.ref, fetched))
	byHash := config.RefSpec(fmt.Sprintf("%s:%s", at.hash, fetched))
	shallow := 1
	if from.scheme == "file" {
		shallow = 0 // go-git's own server side knows no shallow clones
	}
	switch {
	case !at.exact:
		return []*gogit.FetchOptions{fetch(shallow, byName), fetch(0, byName)}
	case at.ref != "":
		return []*gogit.FetchOptions{fetch(shallow, byName), fetch(shallow, byHash), all}
	}
	return []*gogit.FetchOptions{fetch(shallow, byHash), all}
}

// arrived returns the hash that was fetched. A branch may have moved since the references were listed: what came is
// what counts. A hash must be the very one.
func arrived(repo *gogit.Repository, at target) (plumbing.Hash, error) {
	if at.exact {
		_, err := repo.Storer.EncodedObject(plumbing.AnyObject, at.hash)
		return at.hash, err
	}
	ref, err := repo.Reference(fetched, true)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	return ref.Hash(), nil
}

// newRemote empties dir's .git and makes it anew.
func (a *access) newRemote(from address, dir string) (*gogit.Remote, *gogit.Repository, error) {
	if err := os.RemoveAll(filepath.Join(dir, gogit.GitDirName)); err != nil {
		return nil, nil, err
	}
	repo, err := newRepository(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("making a repository in %q: %w", dir, err)
	}
	remote, err := repo.CreateRemote(&config.RemoteConfig{Name: "origin", URLs: []string{from.url}})
	return remote, repo, err
}

// retry repeats what the server could not do for now.
func (a *access) retry(ctx context.Context, do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if errors.Is(err, gogit.NoErrAlreadyUpToDate) {
			return nil
		}
		if err == nil || fault.KindOf(err) != fault.Unavailable || attempt >= len(a.pauses) || lasting(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(a.pauses[attempt]):
		}
	}
}
