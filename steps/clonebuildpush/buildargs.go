package clonebuildpush

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"

	"dockline/pkg/step"
)

// largestArgs bounds BUILD_ARGS_FILE: a RUN is given its arguments as variables, none of which Linux lets be longer
// (MAX_ARG_STRLEN, execve(2)).
const largestArgs = 128 << 10

// buildArgs are those of BUILD_ARGS and of BUILD_ARGS_FILE, which must not say two things of one name. Tree is the work
// tree, and context the folder in it that is built.
func (r *runner) buildArgs(tree, context string) (map[string]string, error) {
	args, err := pairs(r.BuildArgs)
	if err != nil {
		return nil, step.Problem("BUILD_ARGS: %w", err)
	}
	if r.BuildArgsFile == "" {
		return args, nil
	}
	text, err := readArgs(tree, context, r.BuildArgsFile)
	if err != nil {
		return nil, step.Problem("BUILD_ARGS_FILE: %w", err)
	}
	more, err := parseArgs(text)
	if err != nil {
		return nil, step.Problem("BUILD_ARGS_FILE: %q: %w", r.BuildArgsFile, err)
	}
	for _, name := range slices.Sorted(maps.Keys(more)) {
		if value, own := args[name]; own && value != more[name] {
			return nil, step.Problem("BUILD_ARGS and BUILD_ARGS_FILE set %q to two values: set it in one of them", name)
		}
		args[name] = more[name]
	}
	return args, nil
}

// readArgs reads a file of the context, or, by an absolute path, of this container. A link of the repository does not
// lead out of it: what it leads to would be in the image's history.
func readArgs(tree, context, path string) ([]byte, error) {
	file, err := openArgs(tree, context, path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is no regular file", path)
	}
	text, err := io.ReadAll(io.LimitReader(file, largestArgs+1))
	if err == nil && len(text) > largestArgs {
		err = fmt.Errorf("%q is larger than %d bytes", path, largestArgs)
	}
	return text, err
}

func openArgs(tree, context, path string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK // a pipe does not hold the step up
	if filepath.IsAbs(path) {
		inside, err := filepath.Rel(tree, path)
		if err != nil || !filepath.IsLocal(inside) {
			return os.OpenFile(path, flags, 0) //nolint:gosec // it is what the variable is for
		}
		context, path = tree, inside
	}
	folder, err := os.OpenRoot(context)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	return folder.OpenFile(path, flags, 0)
}

// parseArgs reads NAME=VALUE, one a line. The value is all that follows the first "=", quotes and spaces included. Lines
// that are empty, or begin with "#", say nothing. The errors name lines, and not what they hold: it may be a secret by
// mistake.
func parseArgs(text []byte) (map[string]string, error) {
	if !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, errors.New("it is no text in UTF-8")
	}
	out := map[string]string{}
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
		number++
		line = strings.TrimLeftFunc(strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), unicode.IsSpace)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(line, "=")
		if !ok || name == "" || strings.ContainsFunc(name, unicode.IsSpace) {
			return nil, fmt.Errorf("line %d is not NAME=VALUE", number)
		}
		if _, twice := out[name]; twice {
			return nil, fmt.Errorf("line %d sets %q a second time", number, name)
		}
		out[name] = value
	}
	return out, nil
}
