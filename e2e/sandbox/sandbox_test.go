package sandbox_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dockline/e2e/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	os.Exit(m.Run())
}

const secret = "an-unlikely-passw0rd"

// inside runs the probe in a sandbox and returns what it printed.
func inside(t *testing.T, spec sandbox.Spec) string {
	t.Helper()
	if err := sandbox.Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	probe := filepath.Join(t.TempDir(), "probe")
	build := exec.Command("go", "build", "-o", probe, "dockline/e2e/probe")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the probe: %v\n%s", err, out)
	}
	spec.Programs = map[string]string{"/bin/probe": probe}
	box, err := sandbox.New(t.TempDir(), spec)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	command, err := box.Command(ctx)
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return string(out)
}

// TestWhatTheProbeFinds shows that the probe finds a secret where there is one, and that the host is out of reach.
func TestWhatTheProbeFinds(t *testing.T) {
	t.Parallel()
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "shared"), []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	search := []string{"/bin/probe", "search", hex.EncodeToString([]byte(secret))}
	for name, row := range map[string]struct {
		spec sandbox.Spec
		want []string
	}{
		"nothing, as first process": {sandbox.Spec{Args: search}, nil},
		"a file": {
			sandbox.Spec{Args: search, Files: map[string]string{"/etc/token": "x" + secret}}, []string{"/etc/token"},
		},
		"a file of a shared folder": {
			sandbox.Spec{Args: search, Binds: map[string]string{"/workspace": outside}}, []string{"/workspace/shared"},
		},
		"the environment of the shell above it": {
			sandbox.Spec{Args: append([]string{"/bin/probe", "run"}, search...), Env: []string{"PASSWORD=" + secret}},
			[]string{"/proc/1/environ", "/proc/1/mem"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var want strings.Builder
			for _, place := range row.want {
				fmt.Fprintf(&want, "FOUND %s\n", place)
			}
			fmt.Fprintf(&want, "SEARCHED %d\n", len(row.want))
			if got := inside(t, row.spec); got != want.String() {
				t.Errorf("got\n%swant\n%s", got, &want)
			}
		})
	}
}
