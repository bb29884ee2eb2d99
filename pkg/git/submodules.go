package git

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path"
	"path/filepath"
	"sort"
	"strings"

	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"dockline/pkg/fault"
)

// deepest is how far submodules may nest; a repository can name itself as its submodule.
const deepest = 10

// cloneSubmodules clones the submodules of a commit into its work tree, each at the commit that the tree names.
// go-git's own recursion sends the repository's credentials to every host that .gitmodules names; this does not.
func (a *access) cloneSubmodules(
	ctx context.Context, parent address, commit *object.Commit, dir string, keepGitDir bool,
) ([]Submodule, error) {
	depth, _ := ctx.Value(depthKey{}).(int)
	if depth >= deepest {
		return nil, fault.New(fault.Configuration, "cloning submodules: they nest deeper than %d", deepest)
	}
	ctx = context.WithValue(ctx, depthKey{}, depth+1)

	modules, err := readModules(commit)
	if err != nil {
		return nil, fmt.Errorf("reading .gitmodules: %w", err)
	}
	var out []Submodule
	for _, module := range modules {
		hash, ok, err := submoduleHash(commit, module.Path)
		if err != nil {
			return nil, fmt.Errorf("reading submodule %q: %w", module.Path, err)
		}
		if !ok {
			continue // .gitmodules may still name what the tree no longer has
		}
		from, err := submoduleAddress(parent, module.URL)
		if err != nil {
			return nil, fmt.Errorf("reading submodule %q: %w", module.Path, err)
		}
		if from.scheme == "ssh" && a.authFor(from) == nil {
			return nil, fault.WithHint(
				fault.New(fault.Denied, "cloning submodule %q: the ssh key is for %q, not for %q", module.Path, a.home.host, from.host),
				"give the submodule a relative or an https URL in .gitmodules, or leave submodules out (GIT_SUBMODULES)")
		}
		sub, err := a.cloneTree(ctx, from, hash, Rules{}, filepath.Join(dir, filepath.FromSlash(module.Path)), keepGitDir, true)
		if err != nil {
			return nil, fmt.Errorf("cloning submodule %q from %q: %w", module.Path, from.shown(), err)
		}
		out = append(out, Submodule{
			Path: module.Path, URL: from.shown(), Hash: sub.Hash, Authenticated: a.authFor(from) != nil,
		})
		for _, below := range sub.Submodules {
			below.Path = path.Join(module.Path, below.Path)
			out = append(out, below)
		}
	}
	return out, nil
}

type depthKey struct{}

// readModules reads .gitmodules from the commit, not from the work tree, where it could be a link.
func readModules(commit *object.Commit) ([]*config.Submodule, error) {
	file, err := commit.File(".gitmodules")
	if errors.Is(err, object.ErrFileNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if !file.Mode.IsRegular() && file.Mode != filemode.Executable {
		return nil, fault.New(fault.Configuration, "it is not a regular file")
	}
	text, err := file.Contents()
	if err != nil {
		return nil, err
	}
	modules := config.NewModules()
	if err := modules.Unmarshal([]byte(text)); err != nil {
		return nil, fault.As(fault.Configuration, err)
	}
	var out []*config.Submodule
	for _, module := range modules.Submodules {
		out = append(out, module)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Path < out[j].Path })
	return out, nil
}

// submoduleHash returns the commit that the tree names at a path, if it names one there.
func submoduleHash(commit *object.Commit, at string) (string, bool, error) {
	if !filepath.IsLocal(at) || strings.Contains(at, `\`) {
		return "", false, fault.New(fault.Configuration, "its path leaves the work tree")
	}
	for _, part := range strings.Split(at, "/") {
		if strings.EqualFold(part, ".git") {
			return "", false, fault.New(fault.Configuration, "its path lies in a .git directory")
		}
	}
	tree, err := commit.Tree()
	if err != nil {
		return "", false, err
	}
	entry, err := tree.FindEntry(at)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return "", false, nil
	}
	if err != nil || entry.Mode != filemode.Submodule {
		return "", false, err
	}
	return entry.Hash.String(), true, nil
}

// submoduleAddress resolves a submodule's URL, which may be relative to its parent's. Only a local parent may have a
// local submodule.
func submoduleAddress(parent address, raw string) (address, error) {
	if !strings.HasPrefix(raw, "./") && !strings.HasPrefix(raw, "../") {
		return parseAddress(raw, parent.scheme == "file")
	}
	if host, dir, ok := strings.Cut(parent.url, ":"); ok && parent.scheme == "ssh" && !strings.Contains(parent.url, "://") {
		return parseAddress(host+":"+path.Join(dir, raw), false)
	}
	u, err := url.Parse(parent.url)
	if err != nil {
		return address{}, err
	}
	u.Path = path.Join(u.Path, raw)
	return parseAddress(u.String(), parent.scheme == "file")
}
