package leftover_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/leftover"
)

func TestRemoveLeavesWhatIsSomebodyElses(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, folder := range []string{"empty/below", "used/empty"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for _, file := range []string{"used/file", "key"} {
		if err := os.WriteFile(filepath.Join(dir, file), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range []string{"empty", "used", "key", "absent"} {
		leftover.Remove(filepath.Join(dir, path))
	}
	var left []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		name, _ := filepath.Rel(dir, path)
		left = append(left, name)
		return err
	})
	if diff := cmp.Diff([]string{".", "used", "used/file"}, left); err != nil || diff != "" {
		t.Errorf("%v, left (-want +got):\n%s", err, diff)
	}
	if diff := cmp.Diff([]string{dir + "/key"}, leftover.Absent([]string{dir + "/used", dir + "/key"})); diff != "" {
		t.Errorf("absent (-want +got):\n%s", diff)
	}
}

func TestProcessesAreKnownByWhatTheyName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir() // which no other process names
	process := exec.Command("cat", "-", dir+"/x")
	input, err := process.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := process.Start(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{process.Process.Pid}, leftover.Processes(dir+"/")); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	_ = input.Close()
	_ = process.Wait() // in an error: there is no file x
	if found := leftover.Processes(dir + "/"); len(found) > 0 || leftover.Names(process.Process.Pid, dir) {
		t.Errorf("found %v after its end", found)
	}
}
