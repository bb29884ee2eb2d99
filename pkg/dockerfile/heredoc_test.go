package dockerfile

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"
)

func TestLoneHeredocsBecomeExecForm(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description, source string
		want                []string // the RUN's arguments; nil means that nothing is changed
	}{
		{"a script with variables", "FROM a\nRUN <<EOF\nx=1\necho \"$x\" `id` \\\\\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "x=1\necho \"$x\" `id` \\\\\n"}},
		{"a quoted delimiter", "FROM a\nRUN <<'EOF'\necho $x\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "echo $x\n"}},
		{"a double-quoted delimiter", "FROM a\nRUN <<\"EOF\"\necho $x\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "echo $x\n"}},
		{"a dash takes the tabs away", "FROM a\nRUN <<-EOF\n\techo $x\n\t\tdone\n\tEOF\nUSER 1\n", []string{"/bin/sh", "-c", "echo $x\ndone\n"}},
		{"SHELL", "FROM a\nSHELL [\"/bin/bash\", \"-o\", \"pipefail\", \"-c\"]\nRUN <<EOF\nfalse | true\nEOF\nUSER 1\n", []string{"/bin/bash", "-o", "pipefail", "-c", "false | true\n"}},
		{"SHELL of the stage below", "FROM a AS b\nSHELL [\"/bin/bash\", \"-c\"]\nFROM b\nRUN <<EOF\ntrue\nEOF\nUSER 1\n", []string{"/bin/bash", "-c", "true\n"}},
		{"a shell by its path", "FROM a\nRUN <<EOF\n#!/bin/bash -e\nfalse\nEOF\nUSER 1\n", []string{"/bin/bash", "-e", "-c", "#!/bin/bash -e\nfalse\n"}},
		{"a shell by env", "FROM a\nRUN <<EOF\n#!/usr/bin/env bash\ntrue\nEOF\nUSER 1\n", []string{"/usr/bin/env", "bash", "-c", "#!/usr/bin/env bash\ntrue\n"}},
		{"with a mount", "FROM a\nRUN --mount=type=cache,target=/c <<EOF\nls /c\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "ls /c\n"}},
		{"over two lines", "FROM a\nRUN --mount=type=cache,target=/c \\\n  <<EOF\nls /c\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "ls /c\n"}},
		{"characters that JSON escapes", "FROM a\nRUN <<EOF\necho \"<é&>\" '[' \t\nEOF\nUSER 1\n", []string{"/bin/sh", "-c", "echo \"<é&>\" '[' \t\n"}},
		{"the last line of the file", "FROM a\nRUN <<EOF\ntrue\nEOF", []string{"/bin/sh", "-c", "true\n"}},
		{"a command that reads one stays", "FROM a\nRUN cat <<EOF > /x\ntext\nEOF\nUSER 1\n", nil},
		{"two heredocs stay", "FROM a\nRUN cat <<A <<B\na\nA\nb\nB\nUSER 1\n", nil},
		{"the exec form stays", "FROM a\nRUN [\"/bin/true\"]\nUSER 1\n", nil},
		{"a stage that is not built stays", "FROM a\nRUN <<'EOF'\nx\nEOF\nFROM b\nUSER 1\n", nil},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			plan, err := Check([]byte(test.source), Options{Kaniko: true})
			if err != nil {
				t.Fatal(err)
			}
			if test.want == nil {
				if diff := cmp.Diff(test.source, string(plan.Source)); diff != "" {
					t.Errorf("source (-want +got):\n%s", diff)
				}
				return
			}
			before, after := commands(t, []byte(test.source)), commands(t, plan.Source)
			var got []string
			for i, command := range after {
				if lineOf(command.Location()) != lineOf(before[i].Location()) {
					t.Errorf("%s moved from line %d to %d", command.Name(), lineOf(before[i].Location()), lineOf(command.Location()))
				}
				if run, ok := command.(*instructions.RunCommand); ok {
					got = run.CmdLine
					if run.PrependShell || len(run.Files) > 0 {
						t.Error("the RUN is still in shell form")
					}
					if diff := cmp.Diff(before[i].(*instructions.RunCommand).FlagsUsed, run.FlagsUsed); diff != "" {
						t.Errorf("flags (-want +got):\n%s", diff)
					}
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("arguments (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExecFormTakesNoHeredoc(t *testing.T) {
	t.Parallel()
	// The parser does not look for heredocs in the exec form, so the body is read as instructions.
	_, err := Check([]byte("FROM a\nRUN [\"cat\", \"<<EOF\"]\nbody\nEOF\n"), Options{Kaniko: true})
	if err == nil || !strings.Contains(err.Error(), "Dockerfile:3: unknown instruction: body") {
		t.Errorf("error is %v", err)
	}
}

// FuzzCheck feeds any text. What is accepted must still parse after the rewriting, into as many instructions at the
// same lines.
func FuzzCheck(f *testing.F) {
	for _, test := range refusals {
		f.Add(test.source)
	}
	f.Add("FROM a\nRUN <<EOF\nx\nEOF\nRUN <<-'E' \n\ty\n\tE\nCOPY <<A /x\nA\n")
	f.Add("# escape=`\nFROM a\nRUN x `\n y\n")
	f.Fuzz(func(t *testing.T, source string) {
		plan, err := Check([]byte(source), Options{Kaniko: true})
		if err != nil {
			if strings.Contains(err.Error(), "\n") {
				t.Errorf("error has several lines: %q", err)
			}
			return
		}
		before, after := commands(t, []byte(source)), commands(t, plan.Source)
		if len(before) != len(after) {
			t.Fatalf("%d instructions became %d:\n%s", len(before), len(after), plan.Source)
		}
		for i := range before {
			if lineOf(before[i].Location()) != lineOf(after[i].Location()) {
				t.Errorf("line %d became %d", lineOf(before[i].Location()), lineOf(after[i].Location()))
			}
		}
		if _, err := json.Marshal(plan.Images); err != nil {
			t.Error(err)
		}
	})
}

func commands(t *testing.T, source []byte) []instructions.Command {
	t.Helper()
	result, err := parser.Parse(bytes.NewReader(source))
	if err != nil {
		t.Fatalf("parsing: %v\n%s", err, source)
	}
	stages, _, err := instructions.Parse(result.AST, nil)
	if err != nil {
		t.Fatalf("parsing: %v\n%s", err, source)
	}
	var out []instructions.Command
	for _, stage := range stages {
		out = append(out, stage.Commands...)
	}
	return out
}
