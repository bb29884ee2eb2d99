//go:build e2e

package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"dockline/e2e/baseimage"
	"dockline/e2e/engine"
)

// TestAnEngineLeavesNothing has two engines at once, each with a container that would run for ever.
func TestAnEngineLeavesNothing(t *testing.T) {
	image, err := baseimage.Web(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := tarball.WriteToFile(archive, name.MustParseReference("web:1"), image); err != nil {
		t.Fatal(err)
	}
	before := traces(t)
	var engines []*engine.Engine
	for range 2 {
		e, err := engine.Start(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		engines = append(engines, e)
	}
	for _, e := range engines {
		for _, args := range [][]string{{"load", "-i", archive}, {"run", "-d", "web:1", "/bin/serve", "/srv"}} {
			if out, err := e.Command(t.Context(), args...).CombinedOutput(); err != nil {
				t.Errorf("docker %s: %v\n%s", args[0], err, out)
			}
		}
		out, err := e.Command(t.Context(), "ps", "-q").Output()
		if err != nil || strings.Count(string(out), "\n") != 1 {
			t.Errorf("%q, %v: an engine has one container, its own", out, err)
		}
	}
	for _, e := range engines {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, e := range engines {
		dir := filepath.Dir(strings.TrimPrefix(e.Host, "unix://"))
		if _, err := os.Lstat(dir); err == nil {
			t.Errorf("%s is still there", dir)
		}
		mounts, err := os.ReadFile("/proc/self/mounts")
		if err != nil || strings.Contains(string(mounts), dir) {
			t.Errorf("%s is still mounted, or %v", dir, err)
		}
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range lines {
			if line, _ := os.ReadFile(path); strings.Contains(string(line), dir) {
				t.Errorf("still running: %q", line)
			}
		}
		if groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(dir)); len(groups) > 0 {
			t.Errorf("control groups are left: %v", groups)
		}
	}
	if after := traces(t); after != before {
		t.Errorf("before:\n%safter:\n%s", before, after)
	}
}

// traces lists what there is where engines usually leave something.
func traces(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	for _, path := range []string{"/etc/docker", "/run/docker", "/run/containerd", "/opt/containerd", "/var/lib/docker", "/var/lib/containerd", "/var/run/docker.sock"} {
		_ = filepath.WalkDir(path, func(path string, _ os.DirEntry, err error) error {
			if err == nil {
				out.WriteString(path + "\n")
			}
			return nil
		})
	}
	return out.String()
}
