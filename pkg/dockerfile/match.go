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

func onRun(like func(*instructions.RunCommand) bool) matcher {
	return func(c instructions.Command, _ *place) (string, bool) {
		run, ok := c.(*instructions.RunCommand)
		return "", ok && like(run)
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

// linkedByName finds a --link with a --chown that is no number, which BuildKit does not take either.
func linkedByName(c instructions.Command, _ *place) (string, bool) {
	var link bool
	var chown, chmod string
	switch c := c.(type) {
	case *instructions.CopyCommand:
		link, chown, chmod = c.Link, c.Chown, c.Chmod
	case *instructions.AddCommand:
		link, chown, chmod = c.Link, c.Chown, c.Chmod
	}
	feature := strings.ToUpper(c.Name()) + " --link --chown=" + chown
	return feature, link && chmod == "" && chown != "" && !numericOwner.MatchString(chown)
}

// numericOwner also is root, and what has a variable, which is not judged.
var numericOwner = regexp.MustCompile(`^((root|[0-9]+)(:(root|[0-9]+))?|.*\$.*)$`)

// keepsGitDir finds an ADD that asks for the directory .git of a repository.
func keepsGitDir(c instructions.Command, _ *place) (string, bool) {
	add, ok := c.(*instructions.AddCommand)
	return "", ok && add.KeepGitDir != nil && *add.KeepGitDir
}

// intoMount finds files that would be written to what is mounted in the build's container, and so not be in the image.
func intoMount(c instructions.Command, at *place) (string, bool) {
	to := ""
	if files, _, _, ok := filesOf(c); ok {
		to = files.DestPath
	} else if workdir, ok := c.(*instructions.WorkdirCommand); ok {
		to = workdir.Path
	}
	if to == "" || strings.Contains(to, "$") {
		return "", false
	}
	to = at.absolute(to)
	for _, mount := range at.file.options.Mounts {
		if within(to, mount) && !within(to, at.file.options.KanikoDir) {
			return strings.ToUpper(c.Name()) + " to " + to, true
		}
	}
	return "", false
}

// runOnMount finds a RUN that names what is mounted in the build's container. The kernel's own folders are mounted in
// every container.
func runOnMount(c instructions.Command, at *place) (string, bool) {
	run, ok := c.(*instructions.RunCommand)
	if !ok {
		return "", false
	}
	text := run.String()
	for _, file := range run.Files {
		text += "\n" + file.Data
	}
	for _, mount := range at.file.options.Mounts {
		if !isSystems(mount) && !within(mount, at.file.options.KanikoDir) && mentions(text, mount) {
			return "RUN with " + mount, true
		}
	}
	return "", false
}

// isSystems says whether a mount is one that a container always has, in which no image's RUN leaves anything.
func isSystems(mount string) bool {
	if slices.Contains([]string{"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"}, mount) {
		return true
	}
	return within(mount, "/proc") || within(mount, "/sys") || within(mount, "/dev")
}

// mentions says whether a text has a path, and not another one that begins like it.
func mentions(text, name string) bool {
	for rest := text; ; {
		_, after, found := strings.Cut(rest, name)
		if !found {
			return false
		}
		if after == "" || !isNamePart(after[0]) {
			return true
		}
		rest = after
	}
}

func isNamePart(c byte) bool {
	return c == '-' || c == '_' || c == '.' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
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
