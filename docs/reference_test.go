package docs

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/step"
	"dockline/steps/clonebuildpush"
	"dockline/steps/promote"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

var update = flag.Bool("update", os.Getenv("DOCKLINE_UPDATE") == "true", "write the reference anew instead of comparing")

// TestReference keeps docs/reference/ equal to the configuration structs, from which --help comes too.
func TestReference(t *testing.T) {
	t.Parallel()
	for _, program := range programs() {
		t.Run(program.Name, func(t *testing.T) {
			t.Parallel()
			compare(t, filepath.Join("reference", program.Name+".md"), program.Reference())
		})
	}
}

// TestKnownVariables keeps the list by which a step tells another step's variable from a slip of the keyboard.
func TestKnownVariables(t *testing.T) {
	t.Parallel()
	var names []string
	for _, program := range programs() {
		for _, v := range program.Variables() {
			names = append(names, v.Name)
			if v.Secret {
				names = append(names, v.Name+"_FILE")
			}
		}
	}
	slices.Sort(names)
	compare(t, filepath.Join("..", "pkg", "step", "known.txt"), strings.Join(slices.Compact(names), "\n")+"\n")
}

// TestEveryVariableIsExplained fails for a field without a doc comment, which --help would show as a bare name.
func TestEveryVariableIsExplained(t *testing.T) {
	t.Parallel()
	for _, program := range programs() {
		for _, v := range program.Variables() {
			if len(v.Meaning) < 10 {
				t.Errorf("%s: %s has no doc comment", program.Name, v.Name)
			}
		}
		if program.Summary == "" || len(program.Results) == 0 {
			t.Errorf("%s: summary or results are missing", program.Name)
		}
	}
}

func compare(t *testing.T, path, want string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v: run make docs", err)
	}
	if diff := cmp.Diff(string(content), want); diff != "" {
		t.Errorf("%s is stale: run make docs (-there +should be)\n%s", path, diff)
	}
}

func programs() []step.Program {
	return []step.Program{clonebuildpush.Program(), promote.Program(), retag.Program(), verify.Program()}
}
