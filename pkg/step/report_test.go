package step

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// meddling is a report during whose writing something happens.
type meddling func() error

func (m meddling) MarshalText() ([]byte, error) { return nil, m() }

// TestAReportThatCannotBeWritten ends a run that would have been a success: none of its results stays but a verdict.
func TestAReportThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		meddle func(folder string) error // where the report goes
		status int
		last   string // {F} is the report's path
	}{
		"the folder is gone": {func(folder string) error {
			return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
		}, 6, `sample: unavailable: writing "{F}": making its folder: mkdir {D}: not a directory. Hint: check that the folder is still there ` +
			`and may be written to, and that its disk is not full; then start this step again (exit status 6)`},
		"it crashes": {func(string) error { panic("boom") }, 1,
			"sample: unexpected: crashed: boom. Hint: this looks like a bug: run again with LOG_LEVEL=debug and report what it says (exit status 1)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, folder := t.TempDir(), filepath.Join(t.TempDir(), "reports")
			report := filepath.Join(folder, "report.json")
			s := &sample{run: func(context.Context, *Runtime) (Outcome, error) {
				return Outcome{
					Results: []Result{{Name: "DIGEST", Value: "d"}, {Name: "VERDICT", Value: "right", Always: true}},
					Report:  meddling(func() error { return row.meddle(folder) }),
				}, nil
			}}
			status, _, stderr := try(t, s, nil, "IMAGE=a", "RESULTS_DIR="+dir, "DOTENV_FILE="+filepath.Join(dir, "d.env"), "REPORT_FILE="+report)
			want := strings.NewReplacer("{F}", report, "{D}", folder).Replace(row.last)
			if status != row.status || lastLine(stderr) != want {
				t.Errorf("exit status %d, want %d, and the last line\n%s\nwant\n%s", status, row.status, lastLine(stderr), want)
			}
			left := map[string]string{}
			entries, err := os.ReadDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			for _, entry := range entries {
				content, _ := os.ReadFile(filepath.Join(dir, entry.Name()))
				left[entry.Name()] = string(content)
			}
			if diff := cmp.Diff(map[string]string{"VERDICT": "right", "d.env": "VERDICT=right\n"}, left); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
