package kaniko

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"dockline/pkg/fault"
)

// TestOwnFilesThatABuildHasChanged: whatever a build has done to the programs of the image is found out.
func TestOwnFilesThatABuildHasChanged(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		do   func(at func(path string) string) error
		path string // that is named; "" for none
	}{
		"nothing": {func(func(string) string) error { return nil }, ""},
		"another time": {func(at func(string) string) error {
			return os.Chtimes(at("bin/dockline"), time.Unix(1, 0), time.Unix(1, 0))
		}, ""},
		"a file beside them": {func(at func(string) string) error { return os.WriteFile(at("0.tar"), nil, 0o600) }, ""},
		"other contents": {func(at func(string) string) error {
			return os.WriteFile(at("bin/dockline"), []byte("theirs"), 0o600)
		}, "bin/dockline"},
		"a file more":     {func(at func(string) string) error { return os.WriteFile(at("busybox/ls"), nil, 0o600) }, "busybox/ls"},
		"a file less":     {func(at func(string) string) error { return os.Remove(at("busybox/busybox")) }, "busybox/busybox"},
		"a folder less":   {func(at func(string) string) error { return os.RemoveAll(at("ssl")) }, "ssl"},
		"a pipe":          {func(at func(string) string) error { return unix.Mkfifo(at("bin/git"), 0o600) }, "bin/git"},
		"another link":    {func(at func(string) string) error { return relink("../tmp/x", at("bin/promote")) }, "bin/promote"},
		"a folder's link": {func(at func(string) string) error { return relink("/tmp", at("bin")) }, "bin"},
		"a very large file, of nothing": {func(at func(string) string) error {
			return os.Truncate(at("ssl/certs.crt"), 1<<36)
		}, "ssl/certs.crt"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			at := func(path string) string { return filepath.Join(root, "kaniko", path) }
			for path, content := range map[string]string{
				"bin/dockline": "ours", "busybox/busybox": "ours", "ssl/certs.crt": "ours", "dockerfile-1/Dockerfile": "FROM scratch",
			} {
				write(t, at(path), content)
			}
			if err := os.Symlink("dockline", at("bin/promote")); err != nil {
				t.Fatal(err)
			}
			before, err := readOwn(root)
			if err != nil {
				t.Fatal(err)
			}
			<-before.read // or what is touched could not be told from what is changed
			if err := row.do(at); err != nil {
				t.Fatal(err)
			}
			err = before.check(root)
			if row.path == "" && err != nil {
				t.Errorf("got %v", err)
			}
			if row.path != "" && (fault.KindOf(err) != fault.BuildFailed || !strings.Contains(err.Error(), `changed "`+at(row.path)+`"`)) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func relink(target, path string) error {
	return errors.Join(os.RemoveAll(path), os.Symlink(target, path))
}
