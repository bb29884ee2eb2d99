package dockerfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

// longestLine is the most that the parser takes (bufio.MaxScanTokenSize, less one).
const longestLine = 65535

// defaultShell runs the shell form where no SHELL says otherwise.
var defaultShell = []string{"/bin/sh", "-c"}

// rewriteHeredocs returns the source in which each RUN that is nothing but one heredoc is in exec form, as BuildKit
// runs it: the body is one argument of the shell. Kaniko v1.27.5 pipes the body through an outer shell instead
// (`/bin/sh -c '<<EOF sh …'`), so that "x=1; echo $x" prints nothing, a command that reads its input eats the rest of
// the script, and a quoted delimiter or one with a dash makes it run nothing at all, without an error.
//
// The lines that are left over become empty, so that every other instruction keeps its line. The base image's own
// SHELL, if it has one, is not known here: /bin/sh is used, which is what Kaniko does too.
func (f *file) rewriteHeredocs(source []byte, used []bool) ([]byte, Refused) {
	lines := bytes.SplitAfter(source, []byte("\n"))
	var refused Refused
	changed := false
	for index, stage := range f.stages {
		if !used[index] {
			continue
		}
		shell := f.shellAtStart(index)
		for _, command := range stage.Commands {
			switch c := command.(type) {
			case *instructions.ShellCommand:
				shell = c.Shell
			case *instructions.RunCommand:
				if !loneHeredoc(c) {
					continue
				}
				line, why := execForm(c, f.nodeAt(c), shell)
				if why != "" {
					refused = append(refused, Finding{
						File: f.options.Name, Line: lineOf(c.Location()), Feature: "RUN " + c.CmdLine[0], Reason: why,
					})
					continue
				}
				replaceLines(lines, c.Location(), line)
				changed = true
			}
		}
	}
	if !changed {
		return source, refused
	}
	return bytes.Join(lines, nil), refused
}

// shellAtStart is the SHELL that a stage inherits from the stages below it.
func (f *file) shellAtStart(index int) []string {
	base := f.baseStage(index)
	if base < 0 {
		return defaultShell
	}
	shell := f.shellAtStart(base)
	for _, command := range f.stages[base].Commands {
		if c, ok := command.(*instructions.ShellCommand); ok {
			shell = c.Shell
		}
	}
	return shell
}

// loneHeredoc says whether a RUN is a heredoc and nothing else, such as "RUN <<EOF".
func loneHeredoc(run *instructions.RunCommand) bool {
	if !run.PrependShell || len(run.Files) != 1 || len(run.CmdLine) != 1 {
		return false
	}
	heredoc, err := parser.ParseHeredoc(strings.TrimSpace(run.CmdLine[0]))
	return err == nil && heredoc != nil
}

// execForm writes a lone heredoc as `RUN ["/bin/sh","-c","BODY"]`, or says why it cannot be.
func execForm(run *instructions.RunCommand, node *parser.Node, shell []string) (line, why string) {
	body := run.Files[0].Data
	if run.Files[0].Chomp {
		body = parser.ChompHeredocContent(body)
	}
	argv := append(slices.Clone(shell), body)
	if first, _, _ := strings.Cut(body, "\n"); strings.HasPrefix(first, "#!") {
		if argv = interpreter(first); argv == nil {
			return "", fmt.Sprintf("Kaniko would run the script by sh, not by %q; write it to a file by COPY <<FILE and run that",
				strings.TrimSpace(first[2:]))
		}
		argv = append(argv, "-c", body)
	}
	encoded, err := json.Marshal(argv)
	if err != nil {
		return "", err.Error()
	}
	flags := ""
	if node != nil {
		for _, flag := range node.Flags {
			if strings.ContainsAny(flag, " \t'\"\\") {
				return "", "a flag with blanks or quotes cannot be kept; write RUN sh <<'EOF' instead"
			}
			flags += flag + " "
		}
	}
	line = "RUN " + flags + string(encoded)
	if len(line) >= longestLine {
		return "", "the script is too long; write it to a file by COPY <<FILE and run that"
	}
	return line, ""
}

// interpreter splits a "#!" line as the kernel does, into the program and one argument, when the program is a shell.
func interpreter(line string) []string {
	program, argument, _ := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "#!")), " ")
	argument = strings.TrimSpace(argument)
	shells := []string{"sh", "bash", "dash", "ash", "ksh", "zsh"}
	switch {
	case argument == "" && slices.Contains(shells, path.Base(program)):
		return []string{program}
	case slices.Contains(shells, path.Base(program)), path.Base(program) == "env" && slices.Contains(shells, argument):
		return []string{program, argument}
	}
	return nil
}

// nodeAt finds the parser's node of an instruction, which knows the flags as they were written.
func (f *file) nodeAt(command instructions.Command) *parser.Node {
	for _, node := range f.nodes {
		if node.StartLine == lineOf(command.Location()) {
			return node
		}
	}
	return nil
}

// replaceLines puts text in the place of an instruction's lines, and keeps their number.
func replaceLines(lines [][]byte, location []parser.Range, text string) {
	for i, at := range location {
		number := at.Start.Line - 1
		if number < 0 || number >= len(lines) {
			continue
		}
		ending := "\n"
		if number == len(lines)-1 {
			ending = ""
		}
		if i == 0 {
			lines[number] = []byte(text + ending)
		} else {
			lines[number] = []byte(ending)
		}
	}
}
