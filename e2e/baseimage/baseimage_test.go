package baseimage_test

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"dockline/e2e/baseimage"
)

func TestPack(t *testing.T) {
	t.Parallel()
	image, err := baseimage.Pack(
		baseimage.File{Path: "/bin/a", Content: []byte("program")},
		baseimage.File{Path: "/srv/www/x", Mode: 0o600, Content: []byte("page")},
	)
	if err != nil {
		t.Fatal(err)
	}
	content := mutate.Extract(image)
	defer content.Close()
	type entry struct {
		Mode     int64
		UID, GID int
		Content  string
	}
	got := map[string]entry{}
	for archive := tar.NewReader(content); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		got[header.Name] = entry{header.Mode, header.Uid, header.Gid, string(text)}
	}
	want := map[string]entry{
		"tmp": {Mode: 0o1777}, "bin": {Mode: 0o755}, "etc": {Mode: 0o755}, "srv": {Mode: 0o755}, "srv/www": {Mode: 0o755},
		"bin/a": {Mode: 0o755, Content: "program"}, "srv/www/x": {Mode: 0o600, Content: "page"},
		"etc/passwd": {Mode: 0o644, Content: "root:x:0:0:root:/root:/bin/sh\n"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
	again, err := baseimage.Pack(
		baseimage.File{Path: "/srv/www/x", Mode: 0o600, Content: []byte("page")},
		baseimage.File{Path: "/bin/a", Content: []byte("program")},
	)
	if err != nil {
		t.Fatal(err)
	}
	first, _ := image.Digest()
	second, _ := again.Digest()
	if first != second {
		t.Errorf("the same files make %s and %s", first, second)
	}
}

// TestTheSampleServiceSaysItsVersion runs the programs of the base image on the pages of the sample service.
func TestTheSampleServiceSaysItsVersion(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"serve", "stamp"} {
		program, err := baseimage.Program(t.Context(), "dockline/e2e/baseimage/"+name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), program, 0o700); err != nil { //nolint:gosec // it is to be run
			t.Fatal(err)
		}
	}
	for version, want := range map[string]string{
		"1.0": "Hello World! I'm using the version 1.0<", "1.1": "Hello World! I'm using version 1.1.<",
	} {
		pages := t.TempDir()
		page, err := os.ReadFile(filepath.Join("..", "hello", "hello_v"+version, "index.html"))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(pages, "index.html"), page, 0o600); err != nil {
			t.Fatal(err)
		}
		stamp := exec.Command(filepath.Join(dir, "stamp"), filepath.Join(pages, "version.txt"), version)
		if out, err := stamp.CombinedOutput(); err != nil {
			t.Fatalf("stamp: %v: %s", err, out)
		}
		url := serve(t, filepath.Join(dir, "serve"), pages)
		if got := fetch(t, url); !strings.Contains(got, want) {
			t.Errorf("the page of %s is %q, want %q", version, got, want)
		}
		if got := fetch(t, url+"/version.txt"); got != version+"\n" {
			t.Errorf("the stamp of %s is %q", version, got)
		}
	}
}

// serve starts the web server on a free port and returns its URL, which it reads from the server's first line.
func serve(t *testing.T, program, pages string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	server := exec.CommandContext(ctx, program, pages)
	server.Env = []string{"PORT=0", "ADDRESS=127.0.0.1"}
	out, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = server.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	answer, err := http.Get(url) //nolint:gosec,noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
