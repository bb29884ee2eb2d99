//go:build e2e

package builds_test

import (
	"io/fs"
	"slices"
)

// row is one Dockerfile of the set. In its texts {BASE} stands for the base image, {REGISTRY} for the registry, {WEB} for
// a web server and {GIT} for a Git repository.
type row struct {
	name       string // what it shows, in the words of a Dockerfile
	section    string // of the reference
	dockerfile string
	context    tree
	at         string // the Dockerfile's name, "Dockerfile" if empty
	args       map[string]string
	target     string
	builtIn    bool // BuildKit is to take the frontend that it has, whatever "# syntax" says
	secrets    map[string]string
	allow      []string // what BuildKit refuses unless it is told otherwise
	// refused is what clone-build-push says instead of building; empty means that it builds the same.
	refused string
	// buildKitRefuses says that BuildKit does not build it either: what it says.
	buildKitRefuses string
	// late says that it is refused in the instruction, which is where it shows.
	late bool
	// keepsLinks says that the hard links stay some, of which BuildKit makes copies.
	keepsLinks bool
	// differs are paths that are not the same, of which clone-build-push warns.
	differs []string
	warns   string
	// times are the paths whose times the reference promises.
	times []string
}

// tree is a context: the files by their path.
type tree map[string]entry

type entry struct {
	content string
	mode    fs.FileMode // 0 means 0644
	link    string      // the target of a symbolic link
	hard    string      // the path of the same file
}

// text is a file.
func text(content string) entry { return entry{content: content} }

// site is a context that most of COPY and ADD can be shown with.
var site = tree{
	"index.html": text("hello\n"), "run.sh": {content: "#!/bin/sh\n", mode: 0o755}, "private": {content: "p\n", mode: 0o600},
	"pages/one.html": text("1\n"), "pages/two.html": text("2\n"), "pages/deep/three.html": text("3\n"), "pages/notes.txt": text("n\n"),
	"pages/latest.html": {link: "two.html"}, "other/four.txt": text("4\n"),
}

// with adds files to a context.
func (t tree) with(more tree) tree {
	out := tree{}
	for _, files := range []tree{t, more} {
		for path, file := range files {
			out[path] = file
		}
	}
	return out
}

func rows() []row {
	return slices.Concat(directiveRows, fromRows, runRows, mountRows, copyRows, addRows(), configRows, scopeRows, fileRows)
}
