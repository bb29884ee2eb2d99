package kaniko

import (
	"archive/tar"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sys/unix"
)

// packedLayer is one that was packed here: a compressed file, whose digests are known.
type packedLayer struct {
	file           string
	digest, diffID v1.Hash
	size           int64
	mediaType      types.MediaType
	content        string // stands for all but the times of the files
}

// Digest, DiffID, Size, MediaType, Compressed and Uncompressed implement v1.Layer.
func (l *packedLayer) Digest() (v1.Hash, error)            { return l.digest, nil }
func (l *packedLayer) DiffID() (v1.Hash, error)            { return l.diffID, nil }
func (l *packedLayer) Size() (int64, error)                { return l.size, nil }
func (l *packedLayer) MediaType() (types.MediaType, error) { return l.mediaType, nil }
func (l *packedLayer) Compressed() (io.ReadCloser, error)  { return os.Open(l.file) }
func (l *packedLayer) Uncompressed() (io.ReadCloser, error) {
	file, err := os.Open(l.file)
	if err != nil {
		return nil, err
	}
	content, err := gzip.NewReader(file)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{content, file}, nil
}

// pack writes the changes of an instruction as a layer (image specification, "Representing Changes"). The time of every
// file is when, unless that is zero.
func pack(dir string, after tree, changed, gone []string, mediaType types.MediaType, when time.Time) (*packedLayer, error) {
	out, err := os.CreateTemp(dir, "layer-*.tar.gz")
	if err != nil {
		return nil, err
	}
	counted := &counter{Writer: out, hash: sha256.New()}
	compressed := gzip.NewWriter(counted)
	plain, content := sha256.New(), sha256.New()
	p := &packer{content: content, after: after, when: when, archive: tar.NewWriter(io.MultiWriter(compressed, plain)), links: map[inode]string{}, written: map[string]bool{"/": true}}
	err = p.all(changed, gone)
	if err := errors.Join(err, p.archive.Close(), compressed.Close(), out.Close()); err != nil {
		return nil, err
	}
	return &packedLayer{
		file: out.Name(), digest: sum(counted.hash), diffID: sum(plain), size: counted.size, mediaType: mediaType,
		content: hex.EncodeToString(content.Sum(nil)),
	}, nil
}

func sum(hash hash.Hash) v1.Hash {
	return v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(hash.Sum(nil))}
}

type counter struct {
	io.Writer
	hash hash.Hash
	size int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.Writer.Write(p)
	_, _ = c.hash.Write(p[:n])
	c.size += int64(n)
	return n, err
}

// inode is a file, whatever its paths.
type inode struct{ device, number uint64 }

type packer struct {
	after   tree
	when    time.Time
	archive *tar.Writer
	content io.Writer
	links   map[inode]string // the first path of each file that has several
	written map[string]bool
}

func (p *packer) all(changed, gone []string) error {
	for _, path := range gone {
		if err := p.parents(path); err != nil {
			return err
		}
		hidden := strings.TrimPrefix(filepath.Join(filepath.Dir(path), ".wh."+filepath.Base(path)), "/")
		if err := p.header(&tar.Header{Typeflag: tar.TypeReg, Name: hidden, Format: tar.FormatPAX, ModTime: p.when}); err != nil {
			return err
		}
	}
	for _, path := range changed {
		if path == "/" {
			continue // a container's root is the engine's
		}
		if err := p.parents(path); err != nil {
			return err
		}
		if err := p.addOrMake(path); err != nil {
			return err
		}
	}
	return nil
}

// addOrMake adds a path. One at which something is mounted here is added as an empty folder.
func (p *packer) addOrMake(path string) error {
	if _, seen := p.after[path]; seen {
		return p.add(path)
	}
	p.written[path] = true
	return p.header(&tar.Header{
		Typeflag: tar.TypeDir, Name: strings.TrimPrefix(path, "/") + "/", Mode: 0o755, Format: tar.FormatPAX, ModTime: p.when,
	})
}

// header writes what is said of a file.
func (p *packer) header(h *tar.Header) error {
	_, _ = fmt.Fprintf(p.content, "%q %c %o %d:%d %d %q %d,%d %q\n",
		h.Name, h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.Linkname, h.Devmajor, h.Devminor, h.PAXRecords)
	return p.archive.WriteHeader(h)
}

// parents adds the folders that lead to a path, as they are.
func (p *packer) parents(path string) error {
	for _, dir := range parentsOf(path) {
		if err := p.add(dir); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) add(path string) error {
	if p.written[path] {
		return nil
	}
	p.written[path] = true
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&fs.ModeSocket != 0 {
		return nil // there is none in an archive
	}
	target := ""
	if info.Mode()&fs.ModeSymlink != 0 {
		if target, err = os.Readlink(path); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name = strings.TrimPrefix(path, "/")
	if info.IsDir() {
		header.Name += "/"
	}
	header.Uname, header.Gname = "", "" // the numbers count, and names are another machine's
	header.Format, header.AccessTime, header.ChangeTime = tar.FormatPAX, time.Time{}, time.Time{}
	if !p.when.IsZero() {
		header.ModTime = p.when
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the file system says nothing of its files")
	}
	if id := (inode{stat.Dev, stat.Ino}); stat.Nlink > 1 && !info.IsDir() {
		if first, again := p.links[id]; again {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, strings.TrimPrefix(first, "/"), 0
			return p.header(header)
		}
		p.links[id] = path
	}
	if header.PAXRecords, err = attributes(path); err != nil {
		return err
	}
	if err := p.header(header); err != nil || header.Typeflag != tar.TypeReg {
		return err
	}
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.CopyN(io.MultiWriter(p.archive, p.content), file, header.Size) // what a process adds meanwhile is not of the layer
	return err
}

// attributes are the extended ones of a path, as an archive has them.
func attributes(path string) (map[string]string, error) {
	size, err := unix.Llistxattr(path, nil)
	if err != nil || size == 0 {
		return nil, ignoreUnsupported(err)
	}
	names := make([]byte, size)
	if size, err = unix.Llistxattr(path, names); err != nil {
		return nil, ignoreUnsupported(err)
	}
	records := map[string]string{}
	for name := range strings.SplitSeq(strings.TrimRight(string(names[:size]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "trusted.overlay.") || strings.HasPrefix(name, "user.overlay.") || name == "security.selinux" {
			continue // of this machine
		}
		value := make([]byte, 64<<10) // the most that there can be (xattr(7))
		length, err := unix.Lgetxattr(path, name, value)
		if err != nil {
			continue // of those that nobody may read
		}
		records["SCHILY.xattr."+name] = string(value[:length])
	}
	return records, nil
}

func ignoreUnsupported(err error) error {
	if errors.Is(err, unix.ENOTSUP) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENODATA) {
		return nil
	}
	return err
}
