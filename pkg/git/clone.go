// Package git clones exactly one commit of a repository, in process: no git program is run.
//
// Only https, ssh and (where allowed) local repositories are read. Credentials go to the repository's own host and
// nowhere else: not along a redirect to another host, and not to a submodule that lives elsewhere.
package git

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"dockline/pkg/fault"
)

// Side names the Git server in errors.
const Side = "Git server"

// Options says what to clone, and where to.
type Options struct {
	// URL is the repository: "https://host/path", "ssh://git@host/path", "git@host:path", or a local path.
	URL string
	// Revision is a branch, a tag, a reference that begins with "refs/", or a full hash. The default is the
	// repository's default branch.
	Revision string
	// Dir receives the work tree. It must be empty or absent.
	Dir string
	// Rules are what the commit must keep. The default is to ask nothing of it.
	Rules Rules

	// Username and Password are for https. With a password alone, such as a token, the user name is "oauth2".
	Username, Password string
	// CA holds certificates in PEM form that are trusted beside the system's.
	CA []byte
	// SSHKey is a private key without a passphrase, and KnownHosts the lines that the host's key is checked against.
	// Both are needed for ssh: an unknown host is never trusted.
	SSHKey, KnownHosts []byte
	// Proxy returns the proxy to reach an http or https address through, nil for none. The default has no proxies.
	Proxy func(*url.URL) (*url.URL, error)

	// AllowLocal allows a local path, or a file:// URL, as the repository.
	AllowLocal bool
	// Submodules clones submodules too, recursively. Those on another host are cloned without credentials.
	Submodules bool
	// KeepGitDir leaves .git in the work tree. It holds no credentials. The default is to remove it.
	KeepGitDir bool

	// Progress receives the server's progress lines. The default is to ask for none.
	Progress io.Writer
	// Pauses are the waits before the second, third… attempt when the server cannot be reached or answers with a
	// server error. Nil means 1 s and 4 s; an empty slice means one attempt.
	Pauses []time.Duration
}

// Commit is what is known of one commit.
type Commit struct {
	Hash    string    // 40 hexadecimal digits
	Time    time.Time // the committer's
	Subject string    // the first line of the message
}

// Checkout is a cloned commit.
type Checkout struct {
	Commit
	Branch string // the branch that the revision named, else ""
	Tag    string // the tag that the revision or the rules named, else ""
	Signer string // whose signature the rules asked for, else ""
	// Submodules are the cloned submodules, parents first.
	Submodules []Submodule
}

// Submodule is a cloned submodule.
type Submodule struct {
	Path          string // in the top repository
	URL           string // without credentials
	Hash          string
	Authenticated bool // the credentials were sent, since it is on the repository's own host
}

// Clone writes the work tree of one commit to o.Dir and returns what it is.
//
// Its errors name the Git server as their side. Their kinds are Configuration (the URL or the revision cannot be
// used), NotFound (no such repository or revision), Denied (credentials, or the host's key), Refused (by the rules; then
// no work tree is written), and Unavailable. A cancelled context ends it at once.
func Clone(ctx context.Context, o Options) (Checkout, error) {
	from, err := parseAddress(o.URL, o.AllowLocal)
	if err != nil {
		return Checkout{}, err
	}
	if err := checkRevision(o.Revision); err != nil {
		return Checkout{}, err
	}
	if err := o.Rules.validate(o.Revision); err != nil {
		return Checkout{}, err
	}
	if err := requireEmpty(o.Dir); err != nil {
		return Checkout{}, err
	}
	access, err := accessFor(from, o)
	if err != nil {
		return Checkout{}, err
	}

	ctx, end, err := withHTTP(ctx, o.Proxy, o.CA)
	if err != nil {
		return Checkout{}, fault.At(Side, err)
	}
	defer end()
	checkout, err := interruptible(ctx, func() (Checkout, error) {
		return access.cloneTree(ctx, from, o.Revision, o.Rules, o.Dir, o.KeepGitDir, o.Submodules)
	})
	if err != nil {
		return Checkout{}, fault.At(Side, fmt.Errorf("cloning %q: %w", from.shown(), err))
	}
	return checkout, nil
}

// cloneTree clones one repository and, if asked, those below it.
func (a *access) cloneTree(
	ctx context.Context, from address, revision string, rules Rules, dir string, keepGitDir, submodules bool,
) (Checkout, error) {
	repo, at, err := a.fetch(ctx, from, rules.fetched(revision), dir)
	if err != nil {
		return Checkout{}, rules.absent(err)
	}
	if open, ok := repo.Storer.(io.Closer); ok {
		defer open.Close() //nolint:errcheck // it was read
	}
	commit, err := peel(repo, at.hash)
	if err != nil {
		return Checkout{}, fmt.Errorf("reading revision %q: %w", revision, err)
	}
	signer, err := rules.check(repo, at, commit, revision)
	if err != nil {
		return Checkout{}, err
	}
	if keepGitDir {
		err = checkOutWithIndex(repo, commit)
	} else {
		err = checkOut(repo, commit, dir)
	}
	if err != nil {
		return Checkout{}, fmt.Errorf("checking out %s: %w", commit.Hash, classify(err))
	}
	out := Checkout{Commit: describe(commit), Branch: at.branch, Tag: at.tag, Signer: signer}
	if submodules {
		out.Submodules, err = a.cloneSubmodules(ctx, from, commit, dir, keepGitDir)
		if err != nil {
			return Checkout{}, err
		}
	}
	if keepGitDir {
		return out, nil
	}
	return out, os.RemoveAll(filepath.Join(dir, gogit.GitDirName))
}

// checkOutWithIndex leaves a work tree in which a RUN can use Git.
func checkOutWithIndex(repo *gogit.Repository, commit *object.Commit) error {
	worktree, err := repo.Worktree()
	if err != nil {
		return err
	}
	return worktree.Checkout(&gogit.CheckoutOptions{Hash: commit.Hash, Force: true})
}

const (
	// cacheSize is how much of a repository is held in memory: what others are stored as a difference from. The default of
	// go-git is 96 MiB.
	cacheSize = 16 * cache.MiByte

	// largeObject is from which size on a file is read piece by piece.
	largeObject = 1 << 20
)

// newRepository makes an empty repository whose writes cannot leave dir, whatever links a tree plants.
func newRepository(dir string) (*gogit.Repository, error) {
	gitDir := osfs.New(filepath.Join(dir, gogit.GitDirName), osfs.WithBoundOS())
	storage := filesystem.NewStorageWithOptions(gitDir, cache.NewObjectLRU(cacheSize), filesystem.Options{
		KeepDescriptors: true, LargeObjectThreshold: largeObject,
	})
	return gogit.Init(storage, osfs.New(dir, osfs.WithBoundOS()))
}

// peel follows annotated tags, tags of tags included, to the commit.
func peel(repo *gogit.Repository, hash plumbing.Hash) (*object.Commit, error) {
	const nested = 10 // Git itself makes tags of tags only on purpose
	for range nested {
		tag, err := repo.TagObject(hash)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		if err != nil {
			return nil, err
		}
		hash = tag.Target
	}
	commit, err := repo.CommitObject(hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return nil, fault.New(fault.NotFound, "object %s is not a commit", hash)
	}
	return commit, err
}

func describe(c *object.Commit) Commit {
	return Commit{Hash: c.Hash.String(), Time: c.Committer.When, Subject: firstLine(c.Message)}
}

// requireEmpty makes dir, and refuses one that has something in it.
func requireEmpty(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // RUN may switch to another user, who must read it
		return fmt.Errorf("making the directory to clone into: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("reading the directory to clone into: %w", err)
	}
	if len(entries) > 0 {
		return fault.New(fault.Configuration, "cloning into %q: the directory is not empty", dir)
	}
	return nil
}

// interruptible returns as soon as ctx ends: go-git's ssh handshake and its checkout take no context.
func interruptible(ctx context.Context, clone func() (Checkout, error)) (Checkout, error) {
	type outcome struct {
		checkout Checkout
		err      error
	}
	done := make(chan outcome, 1)
	go func() {
		var result outcome
		defer func() { done <- result }()
		defer fault.Catch(&result.err)
		result.checkout, result.err = clone()
	}()
	select {
	case <-ctx.Done():
		return Checkout{}, context.Cause(ctx)
	case result := <-done:
		if result.err != nil && ctx.Err() != nil {
			return Checkout{}, context.Cause(ctx)
		}
		return result.checkout, result.err
	}
}
