// Package buildcontext tells whether two build contexts are the same.
package buildcontext

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// Digest returns "sha256:HEX" of what a build can copy from dir: paths, kinds, permissions, the content of files and
// where links lead to. Times and owners are left out, as a cache of layers leaves them out. What ignore, the text of a
// .dockerignore, and the further patterns exclude is left out too.
func Digest(ctx context.Context, dir string, ignore []byte, patterns ...string) (string, error) {
	listed, err := ignorefile.ReadAll(bytes.NewReader(ignore))
	if err != nil {
		return "", fault.New(fault.BuildFailed, "reading .dockerignore: %w", err)
	}
	excluded, err := patternmatcher.New(append(listed, patterns...))
	if err != nil {
		return "", fault.New(fault.BuildFailed, "reading .dockerignore: %w", err)
	}
	d := &digester{ctx: ctx, root: dir, excluded: excluded, sum: sha256.New(), told: map[string]bool{}}
	if err := filepath.WalkDir(dir, d.visit); err != nil {
		return "", fmt.Errorf("reading the build context: %w", err)
	}
	return "sha256:" + hex.EncodeToString(d.sum.Sum(nil)), nil
}

// digester is one walk through a context. Its order is that of filepath.WalkDir, which is the same for the same names.
type digester struct {
	ctx      context.Context //nolint:containedctx // WalkDir has no other way to hand it on
	root     string
	excluded *patternmatcher.PatternMatcher
	sum      hash.Hash
	told     map[string]bool // directories that are in the sum
}

func (d *digester) visit(path string, entry fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	if err := d.ctx.Err(); err != nil {
		return err
	}
	name, err := filepath.Rel(d.root, path)
	if err != nil {
		return err
	}
	skip := false
	if name != "." {
		if skip, err = d.excluded.MatchesOrParentMatches(name); err != nil {
			return err
		}
	}
	switch {
	case skip && entry.IsDir() && !d.excluded.Exclusions():
		return filepath.SkipDir // nothing in it can be excepted
	case skip:
		return nil
	}
	return d.add(name, entry)
}

// add takes an entry into the sum, and the directories above it, which a copy of it makes.
func (d *digester) add(name string, entry fs.DirEntry) error {
	if parent := filepath.Dir(name); name != "." && !d.told[parent] {
		info, err := os.Lstat(filepath.Join(d.root, parent))
		if err != nil {
			return err
		}
		if err := d.add(parent, fs.FileInfoToDirEntry(info)); err != nil {
			return err
		}
	}
	info, err := entry.Info()
	if err != nil {
		return err
	}
	if d.told[name] {
		return nil
	}
	mode := info.Mode()
	d.say(name, mode.String())
	switch {
	case mode.IsDir():
		d.told[name] = true
	case mode.IsRegular():
		return d.file(filepath.Join(d.root, name), info.Size())
	case mode&fs.ModeSymlink != 0:
		target, err := os.Readlink(filepath.Join(d.root, name))
		if err != nil {
			return err
		}
		d.say(target)
	}
	return nil
}

// file takes the content of a file into the sum.
func (d *digester) file(path string, size int64) error {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	fmt.Fprintf(d.sum, "%d:", size)
	if read, err := io.Copy(d.sum, file); err != nil || read != size {
		return fmt.Errorf("reading %q: it has %d bytes, and had %d before: %w", path, read, size, err)
	}
	return nil
}

// say takes words into the sum, each with its length: no two sequences of words give the same bytes.
func (d *digester) say(words ...string) {
	for _, word := range words {
		fmt.Fprintf(d.sum, "%d:%s", len(word), word)
	}
}
