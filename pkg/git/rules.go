package git

import (
	"errors"
	"fmt"
	"io"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"dockline/pkg/fault"
	"dockline/pkg/signers"
)

// Signed is what must be signed: nothing, the commit, or the annotated tag that leads to it.
type Signed string

// What a signature is asked for on.
const (
	SignedCommit Signed = "commit"
	SignedTag    Signed = "tag"
)

// Rules are what a commit must keep to be taken.
type Rules struct {
	// Tag must lead to the commit, whose full hash is the revision: a tag that was moved since is refused. The default is
	// to look at no tag but the one that the revision names.
	Tag string
	// Signed is what must carry a good signature by one of Keys. A tag's signature is on its name, too: the same signed
	// object under another name is refused. The default is to look at no signature.
	Signed Signed
	Keys   *signers.Set
}

// validate looks at what can be told without the repository.
func (r Rules) validate(revision string) error {
	if r.Signed != "" && r.Keys == nil {
		return fault.New(fault.Configuration, "checking the signature of a %s: there are no keys", r.Signed)
	}
	if r.Tag != "" && !IsFullHash(revision) && revision != r.Tag && revision != tagName(r.Tag) {
		return fault.New(fault.Configuration,
			"the tag %q is to lead to the revision %q, which is neither a full hash nor that tag", r.Tag, revision)
	}
	return checkRevision(r.Tag)
}

func tagName(tag string) string { return plumbing.NewTagReferenceName(tag).String() }

// fetched is what is fetched for a revision: the tag that must lead to it shows by itself whether it does.
func (r Rules) fetched(revision string) string {
	if r.Tag != "" {
		return tagName(r.Tag)
	}
	return revision
}

// absent says what it means that the tag is not there.
func (r Rules) absent(err error) error {
	if r.Tag == "" || fault.KindOf(err) != fault.NotFound {
		return err
	}
	return fault.WithHint(err, "push the tag "+r.Tag+": a tag that was removed is not built")
}

// check says whose signature was asked for, and found good.
func (r Rules) check(repo *gogit.Repository, at target, commit *object.Commit, revision string) (signer string, err error) {
	if hash := commit.Hash.String(); r.Tag != "" && IsFullHash(revision) && revision != hash && revision != at.hash.String() {
		return "", fault.WithHint(fault.New(fault.Refused,
			"the tag %q was moved: it leads to commit %s, and commit %s is to be built", r.Tag, hash, revision),
			"what was tested is the old commit, and what the tag now says is the new one: give the new one a tag of its own")
	}
	var what string
	switch r.Signed {
	case "":
		return "", nil
	case SignedCommit:
		what = fmt.Sprintf("the commit %s", commit.Hash)
		signer, err = r.checkCommit(commit)
	case SignedTag:
		what = fmt.Sprintf("the tag %q", at.tag)
		if at.tag == "" {
			what = fmt.Sprintf("the tag of revision %q", revision)
		}
		signer, err = r.checkTag(repo, at, commit)
	default:
		return "", fault.New(fault.Configuration, "checking a signature: %q is neither a commit nor a tag", r.Signed)
	}
	if err != nil {
		return "", fault.WithHint(fault.New(fault.Refused, "checking the signature of %s: %w", what, err),
			"have it signed with a key of GIT_VERIFY_KEYS (git commit -S, git tag -s), or mend that list")
	}
	return signer, nil
}

func (r Rules) checkCommit(commit *object.Commit) (string, error) {
	if commit.PGPSignature == "" {
		return "", signers.ErrUnsigned
	}
	signed, content, err := withoutSignature(commit)
	if err != nil {
		return "", err
	}
	signer, err := r.Keys.Check(content, commit.PGPSignature, time.Now())
	if err != nil {
		return "", err
	}
	var again object.Commit
	if err := again.Decode(signed); err != nil || again.TreeHash != commit.TreeHash {
		return "", errors.New("what is signed is not what would be built")
	}
	return signer, nil
}

func (r Rules) checkTag(repo *gogit.Repository, at target, commit *object.Commit) (string, error) {
	if at.tag == "" {
		return "", errors.New("there is none: the revision names no tag")
	}
	tag, err := repo.TagObject(at.hash)
	switch {
	case errors.Is(err, plumbing.ErrObjectNotFound):
		return "", fmt.Errorf("%w: it is not an annotated tag", signers.ErrUnsigned)
	case err != nil:
		return "", err
	case tag.PGPSignature == "":
		return "", signers.ErrUnsigned
	}
	signed, content, err := withoutSignature(tag)
	if err != nil {
		return "", err
	}
	signer, err := r.Keys.Check(content, tag.PGPSignature, time.Now())
	if err != nil {
		return "", err
	}
	var again object.Tag
	if err := again.Decode(signed); err != nil || again.Target != commit.Hash || again.Name != tag.Name {
		return "", errors.New("what is signed is not what would be built") // a tag of a tag, too
	}
	if tag.Name != at.tag {
		return "", fmt.Errorf("it is signed as %q, and was given another name since", tag.Name)
	}
	return signer, nil
}

// withoutSignature returns what a signature is on, as an object and as its content.
func withoutSignature(of interface {
	EncodeWithoutSignature(o plumbing.EncodedObject) error
},
) (plumbing.EncodedObject, []byte, error) {
	signed := &plumbing.MemoryObject{}
	if err := of.EncodeWithoutSignature(signed); err != nil {
		return nil, nil, err
	}
	reader, err := signed.Reader()
	if err != nil {
		return nil, nil, err
	}
	defer reader.Close() //nolint:errcheck // in memory
	content, err := io.ReadAll(reader)
	return signed, content, err
}
