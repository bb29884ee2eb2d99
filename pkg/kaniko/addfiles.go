package kaniko

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	confined "github.com/containerd/continuity/fs"
	"github.com/moby/go-archive"
	"github.com/moby/go-archive/compression"
	fscopy "github.com/tonistiigi/fsutil/copy"
	"github.com/ulikunitz/xz"

	"dockline/pkg/git"
)

func isURL(source string) bool {
	return strings.HasPrefix(source, "http://") || strings.HasPrefix(source, "https://")
}

// fromURL downloads a file. Its time is what the server says.
func (t *transfer) fromURL(source string) error {
	parsed, err := url.Parse(source)
	if err != nil {
		return err
	}
	name := path.Base(parsed.Path)
	if name == "." || name == "/" {
		name = "__unnamed__"
	}
	return t.temporary(func(dir string) error {
		file := filepath.Join(dir, name)
		if err := download(source, file, t.checksum); err != nil {
			return err
		}
		if done, err := t.unpackFile(file, false); err != nil || done {
			return err
		}
		return t.copy(dir, "/"+name, false, nil)
	})
}

// download fetches a file, and compares its digest.
func download(source, to, checksum string) error {
	answer, err := http.Get(source) //nolint:gosec,noctx // what the Dockerfile says; the build's end ends it
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return fmt.Errorf("downloading %q: %s", source, answer.Status)
	}
	file, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	hash := sha256.New()
	_, err = io.Copy(io.MultiWriter(file, hash), answer.Body)
	if err := errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("downloading %q: %w", source, err)
	}
	if got := "sha256:" + hex.EncodeToString(hash.Sum(nil)); checksum != "" && got != checksum {
		return fmt.Errorf("downloading %q: it has the digest %s", source, got)
	}
	modified, err := http.ParseTime(answer.Header.Get("Last-Modified"))
	if err != nil {
		modified = time.Unix(0, 0)
	}
	return os.Chtimes(to, modified, modified)
}

// fromGit clones a commit: REPOSITORY[#REVISION[:FOLDER]].
func (t *transfer) fromGit(source string) error {
	repository, fragment, _ := strings.Cut(source, "#")
	revision, folder, _ := strings.Cut(fragment, ":")
	return t.temporary(func(dir string) error {
		checkout, err := git.Clone(context.Background(), git.Options{
			URL: repository, Revision: revision, Dir: filepath.Join(dir, "repository"), Submodules: true, KeepGitDir: t.keepGitDir,
		})
		if err != nil {
			return err
		}
		if t.checksum != "" && !strings.HasPrefix(checkout.Hash, t.checksum) {
			return fmt.Errorf("cloning %q: it is at commit %s", source, checkout.Hash)
		}
		if t.owner == nil {
			t.owner = fixed(fscopy.User{})
		}
		root := filepath.Join(dir, "repository", path.Clean("/"+folder))
		return t.copy(root, "/", true, nil)
	})
}

// temporary gives a folder that goes afterwards.
func (t *transfer) temporary(use func(dir string) error) error {
	dir, err := os.MkdirTemp(t.work, "add-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	return use(dir)
}

// unpackFile unpacks a tar archive, compressed or not, where ADD is to do so, by --unpack or else by default, and says
// whether it did.
func (t *transfer) unpackFile(name string, byDefault bool) (bool, error) {
	if !t.urls || t.unpack != nil && !*t.unpack || t.unpack == nil && !byDefault {
		return false, nil
	}
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return false, nil //nolint:nilerr // copying it says what is wrong
	}
	file, err := os.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	if !isArchive(file) {
		return false, nil
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return false, err
	}
	content, err := decompressed(file)
	if err != nil {
		return false, err
	}
	defer content.Close()
	real, err := confined.RootPath(t.to, t.destination)
	if err != nil {
		return false, err
	}
	if _, err := fscopy.MkdirAll(real, 0o755, t.chown, nil); err != nil {
		return false, err
	}
	options := &archive.TarOptions{BestEffortXattrs: true}
	if owner := t.archiveOwner(); owner != nil {
		options.ChownOpts = &archive.ChownOpts{UID: owner.UID, GID: owner.GID}
	}
	return true, archive.UntarUncompressed(content, real, options)
}

// decompressed reads what is in a file of any compression.
func decompressed(file io.Reader) (io.ReadCloser, error) {
	head := make([]byte, 16)
	n, err := io.ReadFull(file, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	whole := io.MultiReader(strings.NewReader(string(head[:n])), file)
	switch compression.Detect(head[:n]) { // for these the library starts a program, of the image that is built
	case compression.Xz:
		reader, err := xz.NewReader(whole)
		return io.NopCloser(reader), err
	case compression.Gzip:
		return gzip.NewReader(whole)
	}
	return compression.DecompressStream(whole)
}

func isArchive(file io.Reader) bool {
	content, err := decompressed(file)
	if err != nil {
		return false
	}
	defer content.Close()
	_, err = tar.NewReader(content).Next()
	return err == nil
}

// archiveOwner is the value of --chown: without it, an archive's files have the owners that it says.
func (t *transfer) archiveOwner() *fscopy.User {
	if t.chown == nil {
		return nil
	}
	owner, err := t.chown(nil)
	if err != nil {
		return nil
	}
	return owner
}
