package clonebuildpush

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/gitserver"
)

func TestParseArgs(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description, text string
		want              map[string]string
		problem           string
	}{
		{"nothing", "", map[string]string{}, ""},
		{"comments and empty lines", "# A=1\n\n  # B=2\n \t\n", map[string]string{}, ""},
		{"commas, spaces and equals signs", "A=1,B=2\nC= d e \nF==g=h\n", map[string]string{"A": "1,B=2", "C": " d e ", "F": "=g=h"}, ""},
		{"quotes and number signs are the value's", "A=\"b\" # c\n", map[string]string{"A": "\"b\" # c"}, ""},
		{"an empty value", "A=\n", map[string]string{"A": ""}, ""},
		{"no line end at the end", "A=1\nB=2", map[string]string{"A": "1", "B": "2"}, ""},
		{"a file of Windows", "\ufeffA=1\r\nB=2\r\n", map[string]string{"A": "1", "B": "2"}, ""},
		{"an indented line", "  A=1\n", map[string]string{"A": "1"}, ""},
		{"no equals sign", "A=1\nhunter2\n", nil, "line 2 is not NAME=VALUE"},
		{"no name", "=hunter2\n", nil, "line 1 is not NAME=VALUE"},
		{"a word before the name", "# x\nexport A=hunter2\n", nil, "line 2 is not NAME=VALUE"},
		{"a name twice", "A=1\nB=2\nA=hunter2\n", nil, `line 3 sets "A" a second time`},
		{"no text", "A=\xff\n", nil, "it is no text in UTF-8"},
		{"a NUL", "A=1\x00B=2\n", nil, "it is no text in UTF-8"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			got, err := parseArgs([]byte(row.text))
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			if (err == nil) != (row.problem == "") || err != nil && err.Error() != row.problem {
				t.Errorf("error %v, want %q", err, row.problem)
			}
		})
	}
}

// TestBuildArgsFromAFile of the context, or of the container, beside BUILD_ARGS.
func TestBuildArgsFromAFile(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "args")
	writeFile(t, outside, "A=the container's\n")
	for _, row := range []struct {
		description string
		changes     []string
		want        map[string]string
	}{
		{"of the context", []string{"BUILD_ARGS_FILE", "build/args"}, map[string]string{"A": "one, two=2", "B": ""}},
		{"of the context, by a link in it", []string{"BUILD_ARGS_FILE", "inside"}, map[string]string{"A": "one, two=2", "B": ""}},
		{"of the container", []string{"BUILD_ARGS_FILE", outside}, map[string]string{"A": "the container's"}},
		{"beside BUILD_ARGS", []string{"BUILD_ARGS_FILE", "build/args", "BUILD_ARGS", "B=,C=3"}, map[string]string{"A": "one, two=2", "B": "", "C": "3"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.commitArgs()
			s.mustRun(row.changes...)
			if diff := cmp.Diff(row.want, s.builder.requests[0].BuildArgs); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestBuildArgsFilesThatAreRefused(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	large, pipe := filepath.Join(folder, "large"), filepath.Join(folder, "pipe")
	writeFile(t, large, "A="+strings.Repeat("a", largestArgs))
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	writeFile(t, filepath.Join(folder, "Dockerfile"), "FROM scratch\n")
	if err := os.Symlink("/etc/hostname", filepath.Join(folder, "out")); err != nil {
		t.Fatal(err)
	}
	s := newStage(t)
	s.commitArgs()
	for _, row := range []struct {
		description, last string
		changes           []string
	}{
		{"none there", `BUILD_ARGS_FILE: openat none: no such file or directory`, []string{"BUILD_ARGS_FILE", "none"}},
		{"outside of the repository", `BUILD_ARGS_FILE: "../../args" leaves the repository`, []string{"BUILD_ARGS_FILE", "../../args"}},
		{"a link that leaves the context", "BUILD_ARGS_FILE: openat outside: path escapes from parent", []string{"BUILD_ARGS_FILE", "outside"}},
		{"a link of a work tree, by its whole path", "BUILD_ARGS_FILE: openat out: path escapes from parent",
			[]string{"BUILD_ARGS_FILE", filepath.Join(folder, "out"), "GIT_URL", "", "GIT_REVISION", "", "SOURCE_DIR", folder, "CONTEXT_DIR", ""}},
		{"a folder", `BUILD_ARGS_FILE: "build" is no regular file`, []string{"BUILD_ARGS_FILE", "build"}},
		{"a pipe", "is no regular file", []string{"BUILD_ARGS_FILE", pipe}},
		{"an endless one", "is no regular file", []string{"BUILD_ARGS_FILE", "/dev/zero"}},
		{"a large one", "is larger than 131072 bytes", []string{"BUILD_ARGS_FILE", large}},
		{"another value than BUILD_ARGS", `BUILD_ARGS and BUILD_ARGS_FILE set "A" to two values`, []string{"BUILD_ARGS_FILE", "build/args", "BUILD_ARGS", "A=mine"}},
		{"no arguments", `BUILD_ARGS_FILE: "Dockerfile": line 1 is not NAME=VALUE`, []string{"BUILD_ARGS_FILE", "Dockerfile"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			status, output := s.run(row.changes...)
			if status != 2 || !strings.Contains(lastLineOf(output), row.last) || len(s.builder.requests) > 0 {
				t.Errorf("exit status %d, %d builds, want %q in:\n%s", status, len(s.builder.requests), row.last, output)
			}
		})
	}
}

// TestPhasesTellOfAFilesArguments: PHASE=push has no such file, and its provenance tells of them all the same.
func TestPhasesTellOfAFilesArguments(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.commitArgs()
	outside := filepath.Join(t.TempDir(), "args")
	writeFile(t, outside, "A=the container's\n")
	p.env["PROVENANCE"], p.env["BUILD_ARGS_FILE"] = "true", outside
	p.mustDo(phaseClone, phaseBuild)
	if err := os.Remove(outside); err != nil {
		t.Fatal(err)
	}
	p.mustDo(phasePush)
	if got := p.provenance().BuildDefinition.ExternalParameters.BuildArgs; !cmp.Equal(got, map[string]string{"A": "the container's"}) {
		t.Errorf("provenance tells of %q", got)
	}
}

// commitArgs commits a context with files of arguments.
func (s *stage) commitArgs() {
	s.t.Helper()
	if _, err := gitserver.Commit(s.repo, "develop", "Arguments", gitserver.Files{
		"hello_v1.0/Dockerfile": {Content: "FROM scratch\nCOPY Dockerfile /\n"},
		"hello_v1.0/build/args": {Content: "# of the build\nA=one, two=2\n\nB=\n"},
		"hello_v1.0/inside":     gitserver.Link("build/args"), "hello_v1.0/outside": gitserver.Link("/proc/self/environ"),
	}); err != nil {
		s.t.Fatal(err)
	}
}
