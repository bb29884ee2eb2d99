package kaniko

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestPutBack: after a build a shell is found where GitLab's runner looks for one, and what was built stays.
func TestPutBack(t *testing.T) {
	t.Parallel()
	ours := map[string]string{"kaniko/busybox/sh": "ours"}
	for name, row := range map[string]struct {
		files, links map[string]string
		want         map[string]string // link → target, for those that are there afterwards
		temporary    bool
	}{
		"an image of nothing": {
			ours, nil, map[string]string{"bin/sh": "/kaniko/busybox/sh", "busybox": "/kaniko/busybox"}, true,
		},
		"an image with a shell": {
			map[string]string{"kaniko/busybox/sh": "ours", "bin/sh": "theirs"}, nil,
			map[string]string{"busybox": "/kaniko/busybox"}, true,
		},
		"an image with a merged /usr": {
			map[string]string{"kaniko/busybox/sh": "ours", "usr/bin/env": "theirs"}, map[string]string{"bin": "usr/bin"},
			map[string]string{"bin": "usr/bin", "bin/sh": "/kaniko/busybox/sh", "busybox": "/kaniko/busybox"}, true,
		},
		"an image with a busybox of its own": {
			map[string]string{"kaniko/busybox/sh": "ours", "busybox/sh": "theirs"}, map[string]string{"bin/sh": "/gone"},
			map[string]string{"bin/sh": "/gone"}, true,
		},
		"a sandbox": {map[string]string{"kaniko/builder": "ours"}, nil, map[string]string{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			for path, content := range row.files {
				write(t, filepath.Join(root, path), content)
			}
			for link, target := range row.links {
				if err := os.MkdirAll(filepath.Dir(filepath.Join(root, link)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, filepath.Join(root, link)); err != nil {
					t.Fatal(err)
				}
			}
			for range 2 { // the second time there is nothing to do
				if err := putBack(root); err != nil {
					t.Fatal(err)
				}
			}
			got := map[string]string{}
			for _, link := range append(slices.Collect(maps.Keys(row.links)), "bin/sh", "busybox") {
				if target, err := os.Readlink(filepath.Join(root, link)); err == nil {
					got[link] = target
				}
			}
			if diff := cmp.Diff(row.want, got); diff != "" {
				t.Errorf("links (-want +got)\n%s", diff)
			}
			info, err := os.Stat(filepath.Join(root, "tmp"))
			if (err == nil) != row.temporary || err == nil && info.Mode() != fs.ModeDir|fs.ModeSticky|0o777 {
				t.Errorf("/tmp is %v, %v", info, err)
			}
		})
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
