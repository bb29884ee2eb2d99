package dockerfile

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
)

// The matchers that rules are made of.

type matcher = func(instructions.Command, *place) (string, bool)

// mount matches a RUN that has a mount like this.
func mount(like func(*instructions.Mount) bool) matcher {
	return func(c instructions.Command, _ *place) (string, bool) {
		run, ok := c.(*instructions.RunCommand)
		return "", ok && slices.ContainsFunc(expandedMounts(run), like)
	}
}

// malformedMount finds what the parser leaves for the build to find. A value with a variable is not judged.
func malformedMount(c instructions.Command, _ *place) (string, bool) {
	run, ok := c.(*instructions.RunCommand)
	if !ok || strings.Contains(run.String(), "$") {
		return "", false
	}
	err := readMounts(run)
	if err == nil {
		return "", false
	}
	return "RUN --mount: " + err.Error(), true
}

func mountType(t instructions.MountType) matcher {
	return mount(func(m *instructions.Mount) bool { return m.Type == t })
}

func runFlag(name string) matcher {
	return func(c instructions.Command, _ *place) (string, bool) {
		run, ok := c.(*instructions.RunCommand)
		return "", ok && slices.Contains(run.FlagsUsed, name)
	}
}

func onCopy(like func(*instructions.CopyCommand) bool) matcher {
	return func(c instructions.Command, _ *place) (string, bool) {
		copied, ok := c.(*instructions.CopyCommand)
		return "", ok && like(copied)
	}
}

func onAdd(like func(*instructions.AddCommand) bool) matcher {
	return func(c instructions.Command, _ *place) (string, bool) {
		added, ok := c.(*instructions.AddCommand)
		return "", ok && like(added)
	}
}

// missingSecret finds a required secret that is not given. Kaniko names it by id, else by the target's last element.
func missingSecret(c instructions.Command, at *place) (string, bool) {
	run, ok := c.(*instructions.RunCommand)
	if !ok {
		return "", false
	}
	for _, m := range expandedMounts(run) {
		if m.Type != instructions.MountTypeSecret || !m.Required {
			continue
		}
		name := m.CacheID
		if name == "" {
			name = path.Base(m.Target)
		}
		if !strings.Contains(name, "$") && !slices.Contains(at.file.options.Secrets, name) {
			return "RUN --mount=type=secret,id=" + name + ",required", true
		}
	}
	return "", false
}

// filesOf returns what COPY and ADD have in common.
func filesOf(c instructions.Command) (files instructions.SourcesAndDest, from, chmod string, ok bool) {
	switch c := c.(type) {
	case *instructions.CopyCommand:
		return c.SourcesAndDest, c.From, c.Chmod, true
	case *instructions.AddCommand:
		return c.SourcesAndDest, "", c.Chmod, true
	}
	return files, "", "", false
}

// expandedHeredoc finds a heredoc in which BuildKit would expand a variable, or drop a backslash.
func expandedHeredoc(c instructions.Command, _ *place) (string, bool) {
	files, _, _, ok := filesOf(c)
	if !ok {
		return "", false
	}
	for _, content := range files.SourceContents {
		if content.Expand && strings.ContainsAny(content.Data, `$\`) {
			return strings.ToUpper(c.Name()) + " <<" + content.Path + " with a variable or a backslash", true
		}
	}
	return "", false
}

var octal = regexp.MustCompile(`^[0-7]*$`)

func symbolicMode(c instructions.Command, _ *place) (string, bool) {
	_, _, chmod, ok := filesOf(c)
	if !ok || strings.Contains(chmod, "$") {
		return "", false
	}
	return strings.ToUpper(c.Name()) + " --chmod=" + chmod, !octal.MatchString(chmod)
}

func intoKaniko(c instructions.Command, at *place) (string, bool) {
	files, _, _, ok := filesOf(c)
	to := at.absolute(files.DestPath)
	return strings.ToUpper(c.Name()) + " to " + to, ok && within(to, at.file.options.KanikoDir)
}

func intoVolume(c instructions.Command, at *place) (string, bool) {
	files, _, _, ok := filesOf(c)
	if !ok {
		return "", false
	}
	to := at.absolute(files.DestPath)
	for _, volume := range at.volumes {
		if within(to, volume) {
			return strings.ToUpper(c.Name()) + " below VOLUME " + volume, true
		}
	}
	return "", false
}

// throughLink finds a source whose directory is, by way of a symbolic link, outside of the context. BuildKit keeps
// to the context whatever its links say.
func throughLink(c instructions.Command, at *place) (string, bool) {
	files, from, _, ok := filesOf(c)
	if !ok || from != "" || at.file.options.ContextDir == "" {
		return "", false
	}
	root, err := os.OpenRoot(at.file.options.ContextDir)
	if err != nil {
		return "", false // the build itself will say that the context cannot be read
	}
	defer root.Close()
	for _, source := range files.SourcePaths {
		dir := path.Dir(strings.TrimPrefix(path.Clean("/"+at.file.args.expand(source)), "/"))
		if strings.Contains(source, "://") || dir == "." {
			continue
		}
		if _, err := root.Stat(dir); escapes(err) {
			return strings.ToUpper(c.Name()) + " " + source, true
		}
	}
	return "", false
}

// escapes says whether os.Root refused a path because it leaves the root. The error has no name of its own, so it is
// what remains when the file system did not say anything itself.
func escapes(err error) bool {
	var failed *fs.PathError
	if err == nil || !errors.As(err, &failed) {
		return false
	}
	return failed.Err.Error() == "path escapes from parent"
}

// within says whether a path is dir or below it.
func within(name, dir string) bool {
	dir = path.Clean(dir)
	return name == dir || strings.HasPrefix(name, strings.TrimSuffix(dir, "/")+"/")
}
