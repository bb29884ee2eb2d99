package kaniko

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	confined "github.com/containerd/continuity/fs"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/sirupsen/logrus"
	fscopy "github.com/tonistiigi/fsutil/copy"

	"dockline/pkg/dockerfile"
)

// transfer is a COPY or an ADD. BuildKit's own library copies.
type transfer struct {
	*execution
	instructions.SourcesAndDest

	from        string // the folder that the sources are in
	inContext   bool   // it is the build context's
	to          string // the root that is copied to
	destination string // the path there

	chown    fscopy.Chowner // what --chown says, or nil
	owner    fscopy.Chowner // of what is copied, nil for that of the source
	mode     string         // what --chmod says
	excludes []string
	parents  bool

	// Of ADD alone.
	urls       bool // sources may be URLs, and archives
	unpack     *bool
	checksum   string
	keepGitDir bool
}

// copyFiles executes COPY and ADD.
func (e *execution) copyFiles(s *state, step step) error {
	t := transfer{execution: e, from: e.context.root, inContext: true, to: "/"}
	var chown string
	var link bool
	switch c := step.Command.(type) {
	case *instructions.CopyCommand:
		t.SourcesAndDest, t.mode, t.excludes, t.parents = c.SourcesAndDest, c.Chmod, c.ExcludePatterns, c.Parents
		chown, link = c.Chown, c.Link
	case *instructions.AddCommand:
		t.SourcesAndDest, t.mode, t.excludes, t.urls = c.SourcesAndDest, c.Chmod, c.ExcludePatterns, true
		t.unpack, t.checksum, t.keepGitDir = c.Unpack, c.Checksum, c.KeepGitDir != nil && *c.KeepGitDir
		chown, link = c.Chown, c.Link
	}
	if link && t.mode == "" { // BuildKit leaves --link out with --chmod
		var err error
		if t.to, err = os.MkdirTemp(e.work, "link-"); err != nil {
			return err
		}
		defer os.RemoveAll(t.to)
	}
	if chown != "" {
		var err error
		if t.chown, err = ownerIn(t.to, chown); err != nil {
			return err
		}
		t.owner = t.chown
	}
	if len(step.sources) > 0 {
		var err error
		if t.from, err = e.folderOf(step.sources[0]); err != nil {
			return err
		}
		t.inContext = false
	} else if t.owner == nil {
		t.owner = fixed(fscopy.User{}) // whoever owns the files of the context
	}
	t.destination = s.absolute(t.DestPath)
	if len(t.SourcePaths)+len(t.SourceContents) > 1 && !strings.HasSuffix(t.destination, "/") && t.destination != "/" {
		if info, err := os.Stat(filepath.Join(t.to, t.destination)); err != nil || !info.IsDir() {
			return fmt.Errorf("the destination %q of several files does not end in /", t.DestPath)
		}
	}
	if err := t.run(); err != nil || t.to == "/" {
		return err
	}
	return t.lay(t.to)
}

// lay lays the files of a root over those of the image, as a layer is: what is in the way goes, links to folders too.
func (e *execution) lay(from string) error {
	spared, err := e.spare(from, "/")
	if err != nil {
		return err
	}
	return fscopy.Copy(context.Background(), from, "/", "/", "/", fscopy.WithCopyInfo(fscopy.CopyInfo{
		CopyDirContents: true, AlwaysReplaceExistingDestPaths: true, ExcludePatterns: spared,
		XAttrErrorHandler: func(string, string, string, error) error { return nil },
	}))
}

func (t *transfer) run() error {
	if t.checksum != "" { // BuildKit's limits: what is taken from the context would go unchecked
		if len(t.SourcePaths) != 1 || len(t.SourceContents) > 0 {
			return errors.New("--checksum is for one source, and there are several")
		}
		if source := t.SourcePaths[0]; !dockerfile.IsGit(source) && !isURL(source) {
			return fmt.Errorf("--checksum is for what is downloaded, and %q is in the build context", source)
		}
	}
	for _, source := range t.SourcePaths {
		var err error
		switch {
		case t.urls && dockerfile.IsGit(source):
			err = t.fromGit(source)
		case t.urls && isURL(source):
			err = t.fromURL(source)
		default:
			err = t.fromFolder(source)
		}
		if err != nil {
			return err
		}
	}
	for _, content := range t.SourceContents {
		if err := t.fromText(content); err != nil {
			return err
		}
	}
	return nil
}

// fromFolder copies what a path, or a pattern of paths, names.
func (t *transfer) fromFolder(source string) error {
	var includes []string
	if t.parents {
		pattern := source
		if pivot, rest, ok := strings.Cut(source, "/./"); ok {
			source, pattern = pivot, rest
		} else {
			source = "/"
		}
		includes = []string{strings.TrimPrefix(path.Clean("/"+pattern), "/")}
		if !strings.ContainsAny(source+pattern, "*?[") {
			if err := t.mustHave(path.Join(source, pattern)); err != nil {
				return err
			}
		}
	}
	found, err := fscopy.ResolveWildcards(t.from, path.Clean("/"+source), true)
	if err != nil {
		return err
	}
	isPattern := strings.ContainsAny(source, "*?[")
	for _, name := range found {
		name = path.Clean("/" + name)
		if t.inContext && !t.context.has(name) {
			if isPattern {
				continue
			}
			return t.missing(source)
		}
		real, err := confined.RootPath(t.from, name)
		if err != nil {
			return err
		}
		if done, err := t.unpackFile(real, true); err != nil {
			return err
		} else if done {
			continue
		}
		if err := t.copy(t.from, name, true, includes); err != nil {
			return err
		}
	}
	return nil
}

// ownFiles are mounted in every container, whose engine writes them whatever an image has there.
var ownFiles = []string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}

// spare returns patterns, relative to a folder, of what must not be copied from it over a folder of the image, since
// something that is not the image's is there: the kernel's file systems, and the files of a container. Anything else that
// is mounted, or the build's own folder, is an error.
func (e *execution) spare(from, over string) (patterns []string, err error) {
	for _, ignored := range e.ignored {
		if under(over, []string{ignored}) {
			return nil, fmt.Errorf("%q is not the image's: it is mounted in the build's container, or the build's own", over)
		}
		relative, err := filepath.Rel(over, ignored)
		if err != nil || !filepath.IsLocal(relative) {
			continue
		}
		if _, err := os.Lstat(filepath.Join(from, relative)); err != nil {
			continue
		}
		if !slices.Contains(ownFiles, ignored) && !under(ignored, systemFolders) {
			return nil, fmt.Errorf("%q is not the image's: it is mounted in the build's container, or the build's own", ignored)
		}
		if slices.Contains(ownFiles, ignored) {
			logrus.Warnf("%s is left out of the image: it is mounted in this container, as an engine does in every one", ignored)
		}
		patterns = append(patterns, literal.Replace(relative))
	}
	return patterns, nil
}

// mustHave fails where there is no such path.
func (t *transfer) mustHave(name string) error {
	if _, err := os.Lstat(filepath.Join(t.from, name)); err != nil || t.inContext && !t.context.has(name) {
		return t.missing(name)
	}
	return nil
}

// missing says where there is no such path.
func (t *transfer) missing(name string) error {
	if t.inContext {
		return t.context.missing(name)
	}
	return missingFrom(name)
}

// missingFrom says that --from has no such path.
func missingFrom(name string) error {
	return fmt.Errorf("the stage or image that it copies from has no file %q", path.Clean("/"+name))
}

// missing says that the context has no such path, or leaves it out.
func (c *contextFiles) missing(name string) error {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if !c.has(name) {
		return fmt.Errorf("the build context leaves out %q (.dockerignore)", name)
	}
	return fmt.Errorf("the build context has no file %q", name)
}

// copy copies one file or folder below a root.
func (t *transfer) copy(root, name string, contents bool, includes []string) error {
	info := fscopy.CopyInfo{
		Chown: t.owner, CopyDirContents: contents, FollowLinks: contents,
		IncludePatterns: includes, ExcludePatterns: t.excludes,
		XAttrErrorHandler: func(string, string, string, error) error { return nil }, // where a file system has none
	}
	if t.inContext && root == t.from {
		real, err := confined.RootPath(root, name) // links do not lead out of the context
		if err != nil {
			return err
		}
		below, err := filepath.Rel(root, real)
		if err != nil {
			return err
		}
		if !t.context.has(below) {
			return t.missing(name)
		}
		info.ExcludePatterns = append(t.context.excludes(below), info.ExcludePatterns...)
	}
	if octal, err := strconv.ParseUint(t.mode, 8, 32); err == nil {
		mode := int(octal) //nolint:gosec // 32 bits
		info.Mode = &mode
	} else {
		info.ModeStr = t.mode
	}
	if t.to == "/" {
		over, err := confined.RootPath("/", t.destination)
		if err != nil {
			return err
		}
		spared, err := t.spare(filepath.Join(root, name), over)
		if err != nil {
			return err
		}
		info.ExcludePatterns = append(info.ExcludePatterns, spared...)
	}
	err := fscopy.Copy(context.Background(), root, name, t.to, t.destination, fscopy.WithCopyInfo(info))
	if errors.Is(err, os.ErrNotExist) {
		return t.missing(name)
	}
	return err
}

// fromText copies a here-document.
func (t *transfer) fromText(content instructions.SourceContent) error {
	return t.temporary(func(dir string) error {
		if err := os.WriteFile(filepath.Join(dir, path.Base(content.Path)), []byte(content.Data), 0o644); err != nil { //nolint:gosec // its mode in the image
			return err
		}
		return t.copy(dir, "/"+path.Base(content.Path), false, nil)
	})
}
