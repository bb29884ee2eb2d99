package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestOneFileUnderThreeNames: the image holds promote, retag and verify as links to one program.
func TestOneFileUnderThreeNames(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, row := range []struct {
		name   string
		status int
		says   string
	}{
		{"promote", 0, "promote "},
		{"retag", 0, "retag "},
		{"verify", 0, "verify "},
		{"dockline", 2, `dockline: configuration: "dockline" is not the name of a step. ` +
			"Hint: this program is called by one of the names promote, retag, verify (exit status 2)\n"},
		{"promote.old", 2, `promote.old: configuration: "promote.old" is not the name of a step. `},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			link := filepath.Join(dir, row.name)
			if err := os.Symlink(filepath.Join(programs, "dockline"), link); err != nil {
				t.Fatal(err)
			}
			command := exec.Command(link, "--version")
			out, _ := command.CombinedOutput()
			if command.ProcessState.ExitCode() != row.status || !strings.HasPrefix(string(out), row.says) {
				t.Errorf("exit status %d and %q, want %d and %q", command.ProcessState.ExitCode(), out, row.status, row.says)
			}
		})
	}
}
