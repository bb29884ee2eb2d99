package git_test

import (
	"bytes"
	"compress/zlib"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gogit "github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/git"
	"dockline/pkg/signers"
)

// signedHistory is a repository with signed and unsigned commits and tags, each kind by a key that is known and one that
// is not.
type signedHistory struct {
	path                          string
	known, other                  *gitserver.Signer
	plain, signed, strange, moved string // commits
	keys                          *signers.Set
}

func newSignedHistory(t *testing.T, kind string) signedHistory {
	t.Helper()
	h := signedHistory{path: filepath.Join(t.TempDir(), "hello.git")}
	h.known, h.other = newSigner(t, kind), newSigner(t, kind)
	h.keys = parse(t, h.known.Public)
	files := gitserver.Text(map[string]string{"page": "hello"})
	h.plain = commit(t, h.path, "plain", "Plain", files)
	for branch, made := range map[string]struct {
		by   *gitserver.Signer
		hash *string
	}{"signed": {h.known, &h.signed}, "strange": {h.other, &h.strange}} {
		commit(t, h.path, branch, "Signed", files)
		hash, err := gitserver.SignCommit(h.path, branch, made.by)
		if err != nil {
			t.Fatal(err)
		}
		*made.hash = hash
	}
	h.moved = commit(t, h.path, "moved", "Moved", gitserver.Text(map[string]string{"page": "moved"}))
	tag(t, h.path, "light", h.signed, "")
	tag(t, h.path, "annotated", h.signed, "Release")
	for name, made := range map[string]struct {
		as string
		by *gitserver.Signer
	}{"v1": {"v1", h.known}, "v2": {"v1", h.known}, "v3": {"v3", h.other}} {
		if err := gitserver.SignTag(h.path, name, made.as, h.plain, made.by); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func newSigner(t *testing.T, kind string) *gitserver.Signer {
	t.Helper()
	if kind == "SSH" {
		signer, err := gitserver.SSH("release@example.com", "git")
		if err != nil {
			t.Fatal(err)
		}
		return signer
	}
	signer, err := gitserver.OpenPGP("release@example.com", time.Now().Add(-time.Hour), 0)
	if err != nil {
		t.Fatal(err)
	}
	return signer
}

func parse(t *testing.T, text string) *signers.Set {
	t.Helper()
	keys, err := signers.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestCloneChecksSignatures(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"OpenPGP", "SSH"} {
		h := newSignedHistory(t, kind)
		expired := h.keys // what OpenPGP says of its keys' times is tested with them
		if kind == "SSH" {
			expired = parse(t, strings.Replace(h.known.Public, " ", ` valid-before="20250101" `, 1))
		}
		for _, test := range []struct {
			description, revision string
			rules                 git.Rules
			refused               string // "" means that it is cloned
		}{
			{"a signed commit", "signed", git.Rules{Signed: git.SignedCommit, Keys: h.keys}, ""},
			{"a signed commit by its hash", h.signed, git.Rules{Signed: git.SignedCommit, Keys: h.keys}, ""},
			{"a signed commit, by way of a tag", "light", git.Rules{Signed: git.SignedCommit, Keys: h.keys}, ""},
			{"a commit that is not signed", "plain", git.Rules{Signed: git.SignedCommit, Keys: h.keys}, "it is not signed"},
			{"a signed tag does not make its commit signed", "v1", git.Rules{Signed: git.SignedCommit, Keys: h.keys}, "it is not signed"},
			{"a commit signed by somebody else", "strange", git.Rules{Signed: git.SignedCommit, Keys: h.keys}, "is none of those given"},
			{"a signed tag", "v1", git.Rules{Signed: git.SignedTag, Keys: h.keys}, ""},
			{"a signed tag, of a commit's hash", h.plain, git.Rules{Tag: "v1", Signed: git.SignedTag, Keys: h.keys}, ""},
			{"a signed tag under another name", "v2", git.Rules{Signed: git.SignedTag, Keys: h.keys}, `it is signed as "v1"`},
			{"a tag signed by somebody else", "v3", git.Rules{Signed: git.SignedTag, Keys: h.keys}, "is none of those given"},
			{"an annotated tag", "annotated", git.Rules{Signed: git.SignedTag, Keys: h.keys}, "it is not signed"},
			{"a tag that is a mere name", "light", git.Rules{Signed: git.SignedTag, Keys: h.keys}, "it is not an annotated tag"},
			{"a branch, where a tag must be signed", "signed", git.Rules{Signed: git.SignedTag, Keys: h.keys}, "names no tag"},
			{"a hash, where a tag must be signed", h.signed, git.Rules{Signed: git.SignedTag, Keys: h.keys}, "names no tag"},
			{"an unknown rule", "signed", git.Rules{Signed: "both", Keys: h.keys}, "neither a commit nor a tag"},
			{"no keys", "signed", git.Rules{Signed: git.SignedCommit}, "there are no keys"},
			{"an expired key", "signed", git.Rules{Signed: git.SignedCommit, Keys: expired}, map[string]string{"SSH": "has expired", "OpenPGP": ""}[kind]},
		} {
			t.Run(kind+"/"+test.description, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				got, err := git.Clone(t.Context(), git.Options{URL: h.path, Revision: test.revision, Dir: dir, AllowLocal: true, Rules: test.rules})
				if test.refused == "" {
					if err != nil || !strings.Contains(got.Signer, "release@example.com") || read(t, dir, "page") != "hello" {
						t.Errorf("signer is %q: %v", got.Signer, err)
					}
					return
				}
				if err == nil || !strings.Contains(err.Error(), test.refused) {
					t.Errorf("error is %v, want a refusal with %q", err, test.refused)
				}
				if want := fault.Refused; fault.KindOf(err) != want && test.rules.Keys != nil && test.rules.Signed != "both" {
					t.Errorf("kind is %q, want %q: %v", fault.KindOf(err), want, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "page")); err == nil {
					t.Error("the work tree was written")
				}
			})
		}
	}
}

func TestCloneRefusesATagThatWasMoved(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	server := serve(t, gitserver.Options{Root: h.root}, false)
	for _, test := range []struct {
		description, revision, tag string
		kind                       fault.Kind // 0 means that it is cloned
		text                       string
	}{
		{"a tag of this commit", h.first, "v1.0", 0, ""},
		{"an annotated tag of this commit", h.second, "v1.1", 0, ""},
		{"the tag itself", "v1.1", "v1.1", 0, ""},
		{"the tag's reference", "refs/tags/v1.1", "v1.1", 0, ""},
		{"a tag of another commit", h.second, "v1.0", fault.Refused, `the tag "v1.0" was moved: it leads to commit ` + h.first + ", and commit " + h.second + " is to be built"},
		{"an annotated tag of another commit", h.first, "v1.1", fault.Refused, `it leads to commit ` + h.second},
		{"a tag that is not there", h.first, "v9", fault.NotFound, `"refs/tags/v9": the repository has no such reference`},
		{"a branch of the same name", h.ambiguous, "both", fault.Refused, "was moved"},
		{"a branch", "main", "v1.0", fault.Configuration, "neither a full hash nor that tag"},
		{"no tag's name", h.first, "v1~1", fault.Configuration, "none of"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			got, err := git.Clone(t.Context(), git.Options{
				URL: server.URL + "/team/hello.git", Revision: test.revision, Dir: t.TempDir(), Rules: git.Rules{Tag: test.tag},
			})
			if test.kind == 0 {
				if err != nil || got.Tag != test.tag || (git.IsFullHash(test.revision) && got.Hash != test.revision) {
					t.Errorf("cloned %+v: %v", got, err)
				}
				return
			}
			if err == nil || fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error is %v (%v), want %q (%v)", err, fault.KindOf(err), test.text, test.kind)
			}
		})
	}
}

func TestCheckWorkTree(t *testing.T) {
	t.Parallel()
	h := newSignedHistory(t, "SSH")
	good := git.Rules{Signed: git.SignedCommit, Keys: h.keys}
	for _, test := range []struct {
		description, revision string
		change                func(t *testing.T, dir string)
		rules                 git.Rules
		refused               string // "" means that it is taken
	}{
		{"as it was checked out", "signed", nil, good, ""},
		{"with an empty folder", "signed", func(t *testing.T, dir string) { write(t, filepath.Join(dir, ".git", "x"), ""); mkdir(t, dir, "new") }, good, ""},
		{"nothing is asked", "plain", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "new"), "x") }, git.Rules{}, ""},
		{"not signed", "plain", nil, good, "it is not signed"},
		{"signed by somebody else", "strange", nil, good, "is none of those given"},
		{"a file that was added", "signed", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "new"), "x") }, good, `"new" was added`},
		{"a file that is ignored", "signed", func(t *testing.T, dir string) {
			write(t, filepath.Join(dir, ".git", "info", "exclude"), "new\n")
			write(t, filepath.Join(dir, "new"), "x")
		}, good, `"new" was added`},
		{"a file that was changed", "signed", func(t *testing.T, dir string) { write(t, filepath.Join(dir, "page"), "x") }, good, `"page" was changed`},
		{"a file that may be run now", "signed", func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "page"), 0o755); err != nil { //nolint:gosec // what is tested
				t.Fatal(err)
			}
		}, good, `"page" was changed`},
		{"a link in the place of a file", "signed", func(t *testing.T, dir string) {
			remove(t, dir, "page")
			if err := os.Symlink("hello", filepath.Join(dir, "page")); err != nil {
				t.Fatal(err)
			}
		}, good, `"page" was changed`},
		{"a file that is gone", "signed", func(t *testing.T, dir string) { remove(t, dir, "page") }, good, `"page" is missing`},
		{"an object that is not what its name says", "signed", func(t *testing.T, dir string) { forgeTree(t, dir) }, good, "is not what its name says"},
		{"a tag that the work tree does not have", "signed", nil, git.Rules{Tag: "v1", Signed: git.SignedTag, Keys: h.keys}, "does not have it"},
		{"a tag that is not asked for a signature need not be there", "signed", nil, git.Rules{Tag: "v1", Signed: git.SignedCommit, Keys: h.keys}, ""},
		{"a signed tag", "plain", func(t *testing.T, dir string) { copyTag(t, h.path, dir, "v1") }, git.Rules{Tag: "v1", Signed: git.SignedTag, Keys: h.keys}, ""},
		{"a tag that was moved", "moved", func(t *testing.T, dir string) { copyTag(t, h.path, dir, "v1") }, git.Rules{Tag: "v1"}, `the tag "v1" was moved: it leads to commit ` + h.plain},
		{"no work tree", "signed", func(t *testing.T, dir string) { remove(t, dir, ".git") }, good, "no Git work tree"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if _, err := git.Clone(t.Context(), git.Options{URL: h.path, Revision: test.revision, Dir: dir, AllowLocal: true, KeepGitDir: true}); err != nil {
				t.Fatal(err)
			}
			if test.change != nil {
				test.change(t, dir)
			}
			signer, err := git.CheckWorkTree(t.Context(), dir, test.rules)
			if test.refused == "" {
				if err != nil || (test.rules.Signed != "") != (signer != "") {
					t.Errorf("signer is %q: %v", signer, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), test.refused) || signer != "" {
				t.Errorf("error is %v, want a refusal with %q", err, test.refused)
			}
		})
	}
}

func TestCheckWorkTreeThroughALink(t *testing.T) {
	t.Parallel()
	h := newSignedHistory(t, "SSH")
	dir, link := t.TempDir(), filepath.Join(t.TempDir(), "link")
	if _, err := git.Clone(t.Context(), git.Options{URL: h.path, Revision: "signed", Dir: dir, AllowLocal: true, KeepGitDir: true}); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(dir, link); err != nil {
		t.Fatal(err)
	}
	rules := git.Rules{Signed: git.SignedCommit, Keys: h.keys}
	if signer, err := git.CheckWorkTree(t.Context(), link, rules); err != nil || signer == "" {
		t.Errorf("signer is %q: %v", signer, err)
	}
	write(t, filepath.Join(dir, "new"), "x")
	if signer, err := git.CheckWorkTree(t.Context(), link, rules); err == nil || signer != "" {
		t.Errorf("signer is %q: %v", signer, err)
	}
}

func mkdir(t *testing.T, parts ...string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(parts...), 0o700); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, parts ...string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(parts...)); err != nil {
		t.Fatal(err)
	}
}

// copyTag gives a work tree's repository a tag and the objects that it needs.
func copyTag(t *testing.T, from, to, name string) {
	t.Helper()
	source, err := gogit.PlainOpen(from)
	if err != nil {
		t.Fatal(err)
	}
	target, err := gogit.PlainOpen(to)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := source.Tag(name)
	if err != nil {
		t.Fatal(err)
	}
	made, err := source.TagObject(ref.Hash())
	if err != nil {
		t.Fatal(err)
	}
	for _, hash := range []plumbing.Hash{made.Hash, made.Target} {
		thing, err := source.Storer.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := target.Storer.SetEncodedObject(thing); err != nil {
			t.Fatal(err)
		}
	}
	if err := target.Storer.SetReference(ref); err != nil {
		t.Fatal(err)
	}
}

// forgeTree puts another tree in the place of the commit's, and makes the files fit: what a loose object is called is
// nobody's proof.
func forgeTree(t *testing.T, dir string) {
	t.Helper()
	repo, err := gogit.PlainOpen(dir)
	if err != nil {
		t.Fatal(err)
	}
	head, err := repo.Head()
	if err != nil {
		t.Fatal(err)
	}
	made, err := repo.CommitObject(head.Hash())
	if err != nil {
		t.Fatal(err)
	}
	tree, err := made.Tree()
	if err != nil {
		t.Fatal(err)
	}
	tree.Entries[0].Hash = plumbing.ComputeHash(plumbing.BlobObject, []byte("forged"))
	forged := &plumbing.MemoryObject{}
	if err := tree.Encode(forged); err != nil {
		t.Fatal(err)
	}
	// All objects become loose ones, and the packs go.
	objects := filepath.Join(dir, ".git", "objects")
	commitObject, err := repo.Storer.EncodedObject(plumbing.AnyObject, made.Hash)
	if err != nil {
		t.Fatal(err)
	}
	remove(t, objects, "pack")
	for hash, thing := range map[plumbing.Hash][]byte{made.TreeHash: loose("tree", contentOf(t, forged)), made.Hash: loose("commit", contentOf(t, commitObject))} {
		write(t, filepath.Join(objects, hash.String()[:2], hash.String()[2:]), string(thing))
	}
	write(t, filepath.Join(dir, "page"), "forged")
}

func contentOf(t *testing.T, of plumbing.EncodedObject) []byte {
	t.Helper()
	reader, err := of.Reader()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

// loose is the form of an object in a file of its own.
func loose(kind string, content []byte) []byte {
	var out bytes.Buffer
	packed := zlib.NewWriter(&out)
	_, _ = fmt.Fprintf(packed, "%s %d\x00%s", kind, len(content), content)
	_ = packed.Close()
	return out.Bytes()
}
