package dockerfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"dockline/pkg/fault"
)

// largest is the most that is read of a Dockerfile: BuildKit's limit for its own.
const largest = 2 << 20

// Read reads the Dockerfile at a path in a context directory. A path that leaves the directory, also by a symbolic
// link, is refused (Configuration), and so is what is no regular file.
func Read(contextDir, name string) ([]byte, error) {
	root, err := os.OpenRoot(contextDir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.New(fault.BuildFailed, "reading the build context: there is no directory %q", contextDir)
	}
	if err != nil {
		return nil, fault.New(fault.BuildFailed, "reading the build context: %w", err)
	}
	defer root.Close()

	if filepath.IsAbs(name) {
		inside, err := filepath.Rel(contextDir, name)
		if err != nil || !filepath.IsLocal(inside) {
			return nil, fault.New(fault.Configuration, "reading the Dockerfile %q: it is outside of the build context", name)
		}
		name = inside
	}
	file, err := root.Open(filepath.Clean(name))
	switch {
	case escapes(err) || !filepath.IsLocal(name):
		return nil, fault.New(fault.Configuration, "reading the Dockerfile %q: it is outside of the build context", name)
	case errors.Is(err, fs.ErrNotExist):
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: the build context has no file %q", name)
	case err != nil:
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: %w", err)
	}
	defer file.Close()

	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile %q: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: %q is no regular file", name)
	}
	if info.Size() > largest {
		return nil, fault.New(fault.BuildFailed, "reading the Dockerfile: %q is larger than %d bytes", name, largest)
	}
	text, err := io.ReadAll(io.LimitReader(file, largest))
	if err != nil {
		return nil, fmt.Errorf("reading the Dockerfile %q: %w", name, err)
	}
	return text, nil
}
