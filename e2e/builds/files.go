package builds

import (
	"archive/tar"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Files are an image's, by their absolute path: what a container of it would find.
type Files map[string]File

// File is what is compared of a file.
type File struct {
	What     string // its type, mode, owner, size, target or device number, and the digest of its content
	Xattrs   string
	Links    string    // the paths of the same file, when it has more than one
	Modified time.Time // is only compared where the reference promises it
}

// node is a file, which may have several paths.
type node struct {
	header  *tar.Header
	content string
}

// ReadFiles applies the layers of an image (image specification, "Applying Changesets").
func ReadFiles(image v1.Image) (Files, error) {
	layers, err := image.Layers()
	if err != nil {
		return nil, err
	}
	tree := map[string]*node{}
	for _, layer := range layers {
		if err := apply(tree, layer); err != nil {
			return nil, err
		}
	}
	paths := map[*node][]string{}
	for name, node := range tree {
		paths[node] = append(paths[node], name)
	}
	files := Files{}
	for name, node := range tree {
		file := File{What: node.describe(), Xattrs: xattrs(node.header), Modified: node.header.ModTime}
		if same := paths[node]; len(same) > 1 {
			slices.Sort(same)
			file.Links = strings.Join(same, " ")
		}
		files[name] = file
	}
	return files, nil
}

func apply(tree map[string]*node, layer v1.Layer) error {
	content, err := layer.Uncompressed()
	if err != nil {
		return err
	}
	defer content.Close()
	added := map[string]bool{} // by this layer: its whiteouts are for what is below it
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name := path.Clean("/" + header.Name)
		dir, base := path.Split(name)
		if hidden, is := strings.CutPrefix(base, ".wh."); is {
			if hidden == ".wh..opq" {
				remove(tree, path.Clean(dir), false, added)
			} else {
				remove(tree, path.Join(dir, hidden), true, added)
			}
			continue
		}
		if name == "/" {
			continue // a container's root is the engine's
		}
		for _, parent := range parents(name) {
			if tree[parent] == nil {
				tree[parent] = &node{header: &tar.Header{Typeflag: tar.TypeDir, Mode: 0o755}}
			}
		}
		if old := tree[name]; old != nil && (old.header.Typeflag != tar.TypeDir || header.Typeflag != tar.TypeDir) {
			remove(tree, name, true, nil)
		}
		added[name] = true
		if header.Typeflag == tar.TypeLink {
			target := tree[path.Clean("/"+header.Linkname)]
			if target == nil {
				return fmt.Errorf("%q is a hard link to %q, which is not there", name, header.Linkname)
			}
			tree[name] = target
			continue
		}
		content, err := digest(archive)
		if err != nil {
			return err
		}
		tree[name] = &node{header, content}
	}
}

// shown is how much of a file's content is shown instead of its digest.
const shown = 1000

// digest is a file's content, or its digest where that is long.
func digest(content io.Reader) (string, error) {
	head, err := io.ReadAll(io.LimitReader(content, shown))
	if err != nil || len(head) < shown {
		return fmt.Sprintf("%q", head), err
	}
	hash := sha256.New()
	_, _ = hash.Write(head)
	_, err = io.Copy(hash, content)
	return fmt.Sprintf("%x", hash.Sum(nil)), err
}

// remove removes what is below a path, and the path itself where that is meant, but for what was added.
func remove(tree map[string]*node, name string, itself bool, added map[string]bool) {
	for other := range tree {
		if added[other] {
			continue
		}
		if (itself && other == name) || strings.HasPrefix(other, strings.TrimSuffix(name, "/")+"/") {
			delete(tree, other)
		}
	}
}

func parents(name string) []string {
	var out []string
	for dir := path.Dir(name); dir != "/"; dir = path.Dir(dir) {
		out = append(out, dir)
	}
	return out
}

func (n *node) describe() string {
	h := n.header
	what := fmt.Sprintf("%d:%d", h.Uid, h.Gid)
	mode := fmt.Sprintf("%04o", h.Mode&0o7777)
	switch h.Typeflag {
	case tar.TypeDir:
		return "directory " + mode + " " + what
	case tar.TypeSymlink:
		return "link " + what + " to " + h.Linkname // its mode means nothing
	case tar.TypeReg:
		return fmt.Sprintf("file %s %s %d bytes %s", mode, what, h.Size, n.content)
	}
	return fmt.Sprintf("type %c %s %s device %d,%d", h.Typeflag, mode, what, h.Devmajor, h.Devminor)
}

func xattrs(h *tar.Header) string {
	var out []string
	for key, value := range h.PAXRecords {
		if name, is := strings.CutPrefix(key, "SCHILY.xattr."); is {
			out = append(out, fmt.Sprintf("%s=%x", name, value))
		}
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
