package clonebuildpush

import (
	"crypto/ed25519"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestAForgedHandover has a RUN write what PHASE=build hands on, and start PHASE=push itself, as it can in a Tekton pod.
// Whatever it writes, nothing is pushed; where the build goes on to its end, what was built is.
func TestAForgedHandover(t *testing.T) {
	t.Parallel()
	forged := func(key ed25519.PrivateKey) []byte {
		content, _ := json.Marshal(handedImage{Image: "deepsky/hello:1.0", Digest: "sha256:" + strings.Repeat("1", 64), Built: true})
		file, _ := json.Marshal(sealed{content, ed25519.Sign(key, content)})
		return file
	}
	_, own, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		description string
		write       func(dir string) error
		status      int // of the push that the RUN starts
	}{
		{"nothing", func(string) error { return nil }, 4},
		{"its own seal", func(dir string) error { return os.WriteFile(filepath.Join(dir, sealedName), forged(own), 0o600) }, 3},
		{"no seal", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, sealedName), []byte(`{"content":"e30=","signature":""}`), 0o600)
		}, 3},
		{"rubbish", func(dir string) error { return os.WriteFile(filepath.Join(dir, sealedName), []byte("\x00"), 0o600) }, 3},
		{"a link out of the folder", func(dir string) error { return os.Symlink("/etc/passwd", filepath.Join(dir, sealedName)) }, 3},
		{"a link to nowhere", func(dir string) error { return os.Symlink("nowhere", filepath.Join(dir, sealedName)) }, 4},
		{"a pipe", func(dir string) error { return syscall.Mkfifo(filepath.Join(dir, sealedName), 0o600) }, 3},
		{"a huge file", func(dir string) error {
			if err := os.WriteFile(filepath.Join(dir, sealedName), nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(filepath.Join(dir, sealedName), 1<<40)
		}, 3},
		{"a folder", func(dir string) error { return os.MkdirAll(filepath.Join(dir, sealedName, "x"), 0o700) }, 3},
		{"what its parent is about to write with", func(dir string) error {
			return os.MkdirAll(filepath.Join(dir, "."+sealedName, "x"), 0o700)
		}, 4},
		{"a key", func(dir string) error { return os.MkdirAll(filepath.Join(dir, sealName, "x"), 0o700) }, 4},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.commit("one")
			p.mustDo(phaseClone)
			inner := &pod{stage: p.stage, checkout: p.checkout, image: p.image}
			p.run = func() {
				if _, err := os.ReadFile(filepath.Join(p.image, sealName)); err == nil {
					t.Error("a RUN can read the key")
				}
				if err := row.write(p.image); err != nil {
					t.Error(err)
				}
				if status, output := inner.phase(phasePush); status != row.status {
					t.Errorf("the push in the middle of the build: exit status %d, want %d:\n%s", status, row.status, output)
				}
				if p.digest("1.0") != "" || p.result("IMAGE_DIGEST") != "" {
					t.Error("something was pushed")
				}
			}
			p.mustDo(phaseBuild, phasePush)
			if got := p.digest("1.0"); got == "" || got != p.result("IMAGE_DIGEST") {
				t.Errorf("1.0 is %q, and the result %q", got, p.result("IMAGE_DIGEST"))
			}
		})
	}
}

// TestAnImageThatWasChangedAfterTheBuild is one that somebody else than the build has written to: its blobs are checked.
func TestAnImageThatWasChangedAfterTheBuild(t *testing.T) {
	t.Parallel()
	for description, change := range map[string]func(blob string) error{
		"changed":   func(blob string) error { return os.WriteFile(blob, []byte("changed"), 0o600) },
		"a link":    func(blob string) error { return os.Symlink("/etc/passwd", blob) },
		"a pipe":    func(blob string) error { return syscall.Mkfifo(blob, 0o600) },
		"not there": func(string) error { return nil },
	} {
		t.Run(description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.commit("one")
			p.mustDo(phaseClone, phaseBuild)
			blobs, _ := filepath.Glob(filepath.Join(p.image, layoutName, "blobs", "sha256", "*"))
			if len(blobs) == 0 {
				t.Fatal("no blobs")
			}
			for _, blob := range blobs {
				if err := os.Remove(blob); err != nil {
					t.Fatal(err)
				}
				if err := change(blob); err != nil {
					t.Fatal(err)
				}
			}
			if status, output := p.phase(phasePush); status != 9 || p.digest("1.0") != "" {
				t.Errorf("exit status %d, want 9:\n%s", status, output)
			}
		})
	}
}
