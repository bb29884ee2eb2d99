package git_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/git"
)

const lfsPointer = "version https://git-lfs.github.com/spec/v1\n" +
	"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n"

func TestLFSPointers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"logo.png":       lfsPointer,
		"a/b/video.mp4":  strings.Replace(lfsPointer, "git-lfs.github", "hawser.github", 1),
		"a/extended":     strings.Replace(lfsPointer, "oid", "ext-0-x sha256:"+strings.Repeat("0", 64)+"\noid", 1),
		"skipped/logo":   lfsPointer,
		"skip.txt":       lfsPointer,
		"docs.md":        "A pointer looks so:\n" + lfsPointer,
		"version":        "version https://git-lfs.github.com/spec/v1\n",
		"long":           lfsPointer + strings.Repeat("x", 1024),
		".gitattributes": "*.png filter=lfs\n",
		"content.png":    "\x89PNG",
		"empty.png":      "",
	} {
		write(t, filepath.Join(dir, name), text)
	}
	if err := os.Symlink("logo.png", filepath.Join(dir, "link.png")); err != nil {
		t.Fatal(err)
	}
	got, err := git.LFSPointers(t.Context(), dir, func(path string, isDir bool) (bool, error) {
		return path == "skipped" && isDir || path == "skip.txt", nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a/b/video.mp4", "a/extended", "logo.png"}, got); diff != "" {
		t.Errorf("pointers (-want +got):\n%s", diff)
	}
}
