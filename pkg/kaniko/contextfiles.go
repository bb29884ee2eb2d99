package kaniko

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"
)

// contextFiles is the build context without what its .dockerignore leaves out.
type contextFiles struct {
	root    string
	ignored map[string]bool // the outermost files and folders that are left out, relative to the root
}

// readContext reads the patterns: DOCKERFILE.dockerignore's, else those of the context's own .dockerignore.
func readContext(root, dockerfile string) (*contextFiles, error) {
	c := &contextFiles{root: root, ignored: map[string]bool{}}
	file, err := os.Open(dockerfile + ".dockerignore")
	if errors.Is(err, fs.ErrNotExist) {
		file, err = os.Open(filepath.Join(root, ".dockerignore"))
	}
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return nil, err
	}
	defer file.Close()
	patterns, err := ignorefile.ReadAll(file)
	if err != nil || len(patterns) == 0 {
		return c, err
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, err
	}
	_, left, err := c.leftOut(".", matcher, patternmatcher.MatchInfo{})
	for _, name := range left {
		c.ignored[name] = true
	}
	return c, err
}

// leftOut lists the outermost paths below a folder that are left out, and says whether anything there is not.
func (c *contextFiles) leftOut(dir string, matcher *patternmatcher.PatternMatcher, above patternmatcher.MatchInfo) (kept bool, left []string, err error) {
	entries, err := os.ReadDir(filepath.Join(c.root, dir))
	if err != nil {
		return false, nil, err
	}
	for _, entry := range entries {
		name := path.Join(dir, entry.Name())
		out, info, err := matcher.MatchesUsingParentResults(name, above)
		if err != nil {
			return false, nil, err
		}
		var below []string
		if entry.IsDir() && (!out || matcher.Exclusions()) {
			var some bool
			if some, below, err = c.leftOut(name, matcher, info); err != nil {
				return false, nil, err
			}
			out = out && !some
		}
		if out {
			left = append(left, name)
		} else {
			kept, left = true, append(left, below...)
		}
	}
	return kept, left, nil
}

// has says whether a path of the context, relative to its root, is not left out.
func (c *contextFiles) has(name string) bool {
	for name = strings.TrimPrefix(path.Clean("/"+name), "/"); name != "" && name != "."; name = path.Dir(name) {
		if c.ignored[name] {
			return false
		}
	}
	return true
}

// excludes are patterns, relative to a folder of the context, of what is left out below it.
func (c *contextFiles) excludes(dir string) []string {
	dir = strings.TrimPrefix(path.Clean("/"+dir), "/")
	var patterns []string
	for name := range c.ignored {
		if dir == "" {
			patterns = append(patterns, literal.Replace(name))
		} else if below, ok := strings.CutPrefix(name, dir+"/"); ok {
			patterns = append(patterns, literal.Replace(below))
		}
	}
	slices.Sort(patterns)
	return patterns
}

// literal writes a name as a pattern that matches it alone.
var literal = strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `!`, `\!`)
