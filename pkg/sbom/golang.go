// Package sbom lists what can be known of an image without a scanner: what it was built on, what it says of itself, and
// the modules of the Go programs in it.
package sbom

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"path"
	"runtime/debug"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// Program is a Go program in an image.
type Program struct {
	Path  string // in the image
	Build *debug.BuildInfo
}

const (
	// largestProgram is held in memory, one at a time: what a program was built from stands anywhere in its file.
	largestProgram = 128 << 20
	// largestContent is how much of an image is read. A few bytes can stand for as much.
	largestContent = 64 << 30
	// mostPrograms is far above what an image for one service holds.
	mostPrograms = 10_000
)

// formats are how programs begin that Go makes: ELF, PE, and Mach-O in its four forms.
var formats = []string{"\x7fELF", "MZ", "\xfe\xed\xfa\xce", "\xfe\xed\xfa\xcf", "\xce\xfa\xed\xfe", "\xcf\xfa\xed\xfe"}

// mark stands in every Go program, before what it was built from (debug/buildinfo).
const mark = "\xff Go buildinf:"

// reading is one look through layers.
type reading struct {
	ctx     context.Context //nolint:containedctx // a reader's Read has no other way to get it
	left    int64
	buffer  bytes.Buffer
	found   map[string]Program
	skipped []string
}

// Programs finds the Go programs in layers, the lowest first: those that the image has in the end. Skipped are files
// that are larger than 128 MiB, and may be programs.
func Programs(ctx context.Context, layers []v1.Layer) (found []Program, skipped []string, err error) {
	r := &reading{ctx: ctx, left: largestContent, found: map[string]Program{}}
	for _, layer := range layers {
		if err := r.layer(layer); err != nil {
			digest, _ := layer.Digest()
			return nil, nil, fmt.Errorf("looking for programs in layer %q: %w", digest, err)
		}
	}
	for _, one := range r.found {
		found = append(found, one)
	}
	slices.SortFunc(found, func(a, b Program) int { return strings.Compare(a.Path, b.Path) })
	slices.Sort(r.skipped)
	return found, slices.Compact(r.skipped), nil
}

func (r *reading) layer(layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	files := tar.NewReader(bounded{content, r})
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := r.file(header, files); err != nil {
			return err
		}
	}
}

// The names by which a layer takes away what is below it (image specification, "Whiteouts").
const (
	whiteout = ".wh."
	opaque   = ".wh..wh..opq"
)

func (r *reading) file(header *tar.Header, content io.Reader) error {
	name := path.Clean("/" + header.Name)
	dir, base := path.Split(name)
	switch {
	case base == opaque:
		r.remove(path.Clean(dir))
		return nil
	case strings.HasPrefix(base, whiteout):
		r.remove(path.Join(dir, strings.TrimPrefix(base, whiteout)))
		return nil
	case header.Typeflag == tar.TypeDir:
		return nil
	}
	delete(r.found, name) // it is replaced
	if header.Typeflag != tar.TypeReg || header.Size < int64(len(mark)) {
		return nil
	}
	beginning := make([]byte, 4)
	if _, err := io.ReadFull(content, beginning); err != nil {
		return err
	}
	if !slices.ContainsFunc(formats, func(format string) bool { return bytes.HasPrefix(beginning, []byte(format)) }) {
		return nil
	}
	if header.Size > largestProgram {
		r.skipped = append(r.skipped, name)
		return nil
	}
	r.buffer.Reset()
	r.buffer.Write(beginning)
	if _, err := r.buffer.ReadFrom(content); err != nil {
		return err
	}
	if build := read(r.buffer.Bytes()); build != nil {
		if r.found[name] = (Program{name, build}); len(r.found) > mostPrograms {
			return fault.New(fault.Refused, "it has more than %d programs", mostPrograms)
		}
	}
	return nil
}

// remove takes out what a layer takes away: a file, or all below a directory.
func (r *reading) remove(name string) {
	for at := range r.found {
		if at == name || strings.HasPrefix(at, strings.TrimSuffix(name, "/")+"/") {
			delete(r.found, at)
		}
	}
}

// read returns what a program was built from; nil of what is none of Go's, or is damaged, be it so that the standard
// library cannot stand it.
func read(program []byte) (build *debug.BuildInfo) {
	if !bytes.Contains(program, []byte(mark)) {
		return nil
	}
	var crash error
	defer func() {
		if crash != nil {
			build = nil
		}
	}()
	defer fault.Catch(&crash)
	build, err := buildinfo.Read(bytes.NewReader(program))
	if err != nil {
		return nil
	}
	return build
}

// bounded ends with the context, and when too much has been read.
type bounded struct {
	io.Reader
	of *reading
}

func (b bounded) Read(p []byte) (int, error) {
	if err := b.of.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := b.Reader.Read(p)
	if b.of.left -= int64(n); b.of.left < 0 {
		return 0, fault.New(fault.Refused, "the image has more than %d GiB", int64(largestContent)>>30)
	}
	return n, err
}
