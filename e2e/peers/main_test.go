//go:build e2e

package peers_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"dockline/e2e/peers"
)

// background is for what all tests share, and outlives each of them.
var background = context.Background()

// programs are compiled once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return "", err
	}
	return dir, peers.Compile(background, dir)
})

func TestMain(m *testing.M) {
	status := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

func serve(t *testing.T, kind string) (host string) {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	var server *peers.Server
	if kind == "olareg" {
		server, err = peers.Olareg(t.Context(), filepath.Join(dir, "olareg"), t.TempDir())
	} else {
		server, err = peers.Distribution(t.Context(), t.TempDir())
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		server.Stop()
		if t.Failed() {
			t.Logf("%s at %s said: %s", kind, server.Host, server.Log())
		}
	})
	return server.Host
}

func run(t *testing.T, program string, environment []string, args ...string) string {
	t.Helper()
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	command := exec.CommandContext(t.Context(), filepath.Join(dir, program), args...) //nolint:gosec // ours
	command.Env = append([]string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "RESULTS_DIR=" + home}, environment...)
	var said bytes.Buffer
	command.Stderr = &said
	out, err := command.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", program, err, said.String())
	}
	return strings.TrimSpace(string(out))
}
