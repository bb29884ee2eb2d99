package imageapi

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestUnpack writes archives that try to reach outside of the folder, where a file waits to be overwritten.
func TestUnpack(t *testing.T) {
	t.Parallel()
	file := func(name, content string) entry {
		return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o644}, content}
	}
	link := func(name, target string, kind byte) entry {
		return entry{tar.Header{Name: name, Typeflag: kind, Linkname: target, Mode: 0o777}, ""}
	}
	for _, test := range []struct {
		description string
		entries     []entry
		want        map[string]string // the files inside
		wantError   bool
	}{
		{"an ordinary image", []entry{
			{tar.Header{Name: "bin/", Typeflag: tar.TypeDir, Mode: 0o755}, ""}, file("bin/a", "a"), file("etc/deep/b", "b"),
			link("bin/hard", "bin/a", tar.TypeLink), link("bin/soft", "a", tar.TypeSymlink),
		}, map[string]string{"bin/a": "a", "etc/deep/b": "b", "bin/hard": "a"}, false},
		{"dots lead no further than the root", []entry{file("../../outside", "new")}, map[string]string{"outside": "new"}, false},
		{"an absolute name", []entry{file("/outside", "new")}, map[string]string{"outside": "new"}, false},
		{"through a link to a folder", []entry{link("up", "..", tar.TypeSymlink), file("up/outside", "new")}, nil, true},
		{"through an absolute link", []entry{link("up", "/", tar.TypeSymlink), file("up/tmp/x", "new")}, nil, true},
		{"over a link to a file", []entry{link("a", "../outside", tar.TypeSymlink), file("a", "new")},
			map[string]string{"a": "new"}, false},
		{"a hard link to the outside", []entry{link("a", "../../outside", tar.TypeLink)}, nil, true},
		{"a hard link through a link", []entry{link("up", "..", tar.TypeSymlink), link("a", "up/outside", tar.TypeLink)}, nil, true},
		{"a device is left out", []entry{{tar.Header{Name: "dev/mem", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 1}, ""}},
			map[string]string{}, false},
		{"tmp is a link to the outside", []entry{link("tmp", "../outside", tar.TypeSymlink)}, map[string]string{}, false},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			got, err := unpackInto(t, dir, archive(t, test.entries))
			if (err != nil) != test.wantError {
				t.Errorf("unpacking: %v, want an error: %v", err, test.wantError)
			}
			if diff := cmp.Diff(test.want, got); diff != "" && !test.wantError {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// FuzzUnpack unpacks whatever comes, and looks whether something outside has changed.
func FuzzUnpack(f *testing.F) {
	f.Add("a", "../outside", "a/b", byte(tar.TypeSymlink))
	f.Add("tmp", "..", "tmp/outside", byte(tar.TypeSymlink))
	f.Add("../a", "../../outside", "../a", byte(tar.TypeLink))
	f.Fuzz(func(t *testing.T, name, target, second string, kind byte) {
		entries := []entry{
			{tar.Header{Name: name, Linkname: target, Typeflag: kind, Mode: 0o755}, ""},
			{tar.Header{Name: second, Typeflag: tar.TypeReg, Mode: 0o644}, "new"},
			{tar.Header{Name: second + "/outside", Typeflag: tar.TypeReg, Mode: 0o644}, "new"},
		}
		_, _ = unpackInto(t, t.TempDir(), archive(t, entries)) // may fail, and must not harm
	})
}

type entry struct {
	header  tar.Header
	content string
}

func archive(t *testing.T, entries []entry) io.Reader {
	var data bytes.Buffer
	writer := tar.NewWriter(&data)
	for _, one := range entries {
		header := one.header
		header.Size = int64(len(one.content))
		if err := writer.WriteHeader(&header); err != nil {
			t.Skip("no such archive can be: ", err)
		}
		if _, err := io.WriteString(writer, one.content); err != nil {
			t.Skip("no such archive can be: ", err)
		}
	}
	if err := writer.Close(); err != nil {
		t.Skip("no such archive can be: ", err)
	}
	return &data
}

// unpackInto unpacks to dir/root and returns its regular files. What lies beside it in dir must stay as it is.
func unpackInto(t *testing.T, dir string, data io.Reader) (map[string]string, error) {
	outside := filepath.Join(dir, "outside")
	if err := os.WriteFile(outside, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "root"), 0o755); err != nil {
		t.Fatal(err)
	}
	root, err := os.OpenRoot(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	unpackErr := unpackTar(data, root)

	info, err := os.Stat(outside)
	if content, readErr := os.ReadFile(outside); err != nil || readErr != nil || string(content) != "old" || info.Mode() != 0o600 {
		t.Errorf("the file outside is now %q, %v (%v, %v)", content, info, err, readErr)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 2 {
		t.Errorf("beside the folder there is now %v (%v)", names, err)
	}
	files := map[string]string{}
	// Not by root.FS(): package fs refuses names that are not UTF-8, which an archive may well have.
	inside := filepath.Join(dir, "root")
	err = filepath.WalkDir(inside, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			name, relErr := filepath.Rel(inside, path)
			content, readErr := os.ReadFile(path)
			files[name], err = string(content), errors.Join(relErr, readErr)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	return files, unpackErr
}
