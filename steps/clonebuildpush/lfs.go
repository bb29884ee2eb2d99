package clonebuildpush

import (
	"bytes"
	"context"
	"fmt"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"dockline/pkg/fault"
	"dockline/pkg/git"
)

// refusePointers refuses a build context with pointers of Git LFS, which would be built as the small texts that they are.
// Those that .dockerignore keeps out of the context do no harm.
func refusePointers(ctx context.Context, what request) error {
	patterns, err := ignorefile.ReadAll(bytes.NewReader(what.Ignore))
	if err != nil {
		return fault.New(fault.BuildFailed, "reading .dockerignore: %w", err)
	}
	ignored, err := patternmatcher.New(append(patterns, what.Exclude...))
	if err != nil {
		return fault.New(fault.BuildFailed, "reading .dockerignore: %w", err)
	}
	found, err := git.LFSPointers(ctx, what.ContextDir, func(path string, isDir bool) (bool, error) {
		if isDir && ignored.Exclusions() {
			return false, nil // a later pattern may take in again what is in it
		}
		return ignored.MatchesOrParentMatches(path)
	})
	if err != nil || len(found) == 0 {
		return err
	}
	const shown = 3
	var names []string
	for _, name := range found[:min(shown, len(found))] {
		names = append(names, fmt.Sprintf("%q", name))
	}
	more := ""
	if len(found) > shown {
		more = fmt.Sprintf(" and %d more", len(found)-shown)
	}
	return fault.WithHint(fault.New(fault.BuildFailed,
		"reading the build context: it holds pointers of Git LFS instead of the files that they stand for: %s%s",
		strings.Join(names, ", "), more),
		"this step fetches no Git LFS: have git lfs pull run before, and build that work tree (SOURCE_DIR), or keep these files out by .dockerignore")
}
