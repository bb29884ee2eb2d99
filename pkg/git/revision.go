package git

import (
	"regexp"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"

	"dockline/pkg/fault"
)

// target is where a revision leads on the server.
type target struct {
	ref    plumbing.ReferenceName // what to fetch; "" when only the hash is known
	hash   plumbing.Hash          // of the commit, or of the annotated tag; zero until fetched for a branch
	exact  bool                   // the revision is a hash: no other will do
	branch string
	tag    string
}

var (
	fullHash  = regexp.MustCompile(`^[0-9a-f]{40}$`)
	shortHash = regexp.MustCompile(`^[0-9a-f]{7,39}$`)
	// notInNames are the characters and sequences that git-check-ref-format(1) keeps out of reference names; those
	// that remain mean "an expression", such as main~1, or an option.
	notInNames = regexp.MustCompile(`^-|[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/$|\.$|\.lock$|^/|^@$`)
)

// IsFullHash says whether a revision is the full hash of a commit: 40 hexadecimal digits, lower case.
func IsFullHash(revision string) bool { return fullHash.MatchString(revision) }

// CheckRevision says whether a revision is a branch, a tag, a reference or a full hash by its form alone.
func CheckRevision(revision string) error { return checkRevision(revision) }

func checkRevision(revision string) error {
	if notInNames.MatchString(revision) {
		return fault.New(fault.Configuration,
			"reading the revision %q: it is none of a branch, a tag, a reference and a full hash", revision)
	}
	return nil
}

// resolve finds a revision among the references that the server shows.
func resolve(revision string, refs []*plumbing.Reference) (target, error) {
	switch {
	case revision == "" || revision == "HEAD":
		return resolveHead(refs)
	case IsFullHash(revision):
		return resolveHash(plumbing.NewHash(revision), refs), nil
	case strings.HasPrefix(revision, "refs/"):
		name := plumbing.ReferenceName(revision)
		for _, ref := range refs {
			if ref.Name() == name {
				return named(ref), nil
			}
		}
		return target{}, fault.New(fault.NotFound, "resolving %q: the repository has no such reference", revision)
	}

	var found []target
	for _, ref := range refs {
		if ref.Name() == plumbing.NewBranchReferenceName(revision) || ref.Name() == plumbing.NewTagReferenceName(revision) {
			found = append(found, named(ref))
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		err := fault.New(fault.Configuration, "resolving %q: it is both a branch and a tag", revision)
		return target{}, fault.WithHint(err, "Say which is meant: refs/heads/"+revision+" or refs/tags/"+revision+".")
	case shortHash.MatchString(revision):
		err := fault.New(fault.NotFound, "resolving %q: the repository has no such branch or tag", revision)
		return target{}, fault.WithHint(err, "A commit must be given by its full hash of 40 digits.")
	}
	return target{}, fault.New(fault.NotFound, "resolving %q: the repository has no such branch or tag", revision)
}

// resolveHead finds the default branch.
func resolveHead(refs []*plumbing.Reference) (target, error) {
	var head *plumbing.Reference
	for _, ref := range refs {
		if ref.Name() == plumbing.HEAD {
			head = ref
		}
	}
	if head == nil {
		return target{}, fault.New(fault.NotFound, "resolving the default branch: the repository has none")
	}
	if head.Type() == plumbing.HashReference {
		return target{ref: plumbing.HEAD, hash: head.Hash()}, nil
	}
	for _, ref := range refs {
		if ref.Name() == head.Target() {
			return named(ref), nil
		}
	}
	return target{}, fault.New(fault.NotFound, "resolving the default branch: %q has no commit", head.Target().Short())
}

// resolveHash prefers a reference that shows the hash, since every server gives those.
func resolveHash(hash plumbing.Hash, refs []*plumbing.Reference) target {
	for _, ref := range refs {
		if ref.Type() == plumbing.HashReference && ref.Hash() == hash && ref.Name() != plumbing.HEAD {
			return target{ref: ref.Name(), hash: hash, exact: true}
		}
	}
	return target{hash: hash, exact: true}
}

func named(ref *plumbing.Reference) target {
	t := target{ref: ref.Name(), hash: ref.Hash()}
	switch {
	case ref.Name().IsBranch():
		t.branch = ref.Name().Short()
	case ref.Name().IsTag():
		t.tag = ref.Name().Short()
	}
	return t
}
