package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"dockline/e2e/baseimage"
	"dockline/e2e/sandbox"
	"dockline/e2e/story"
)

// falseFact, in the environment of the tests' own program, makes it the demo, with that fact falsified.
const falseFact = "DEMO_FALSE_FACT"

func TestMain(m *testing.M) {
	sandbox.Init()
	if name := os.Getenv(falseFact); name != "" {
		compile, check = story.CompileQuickly, falsifying(name)
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// falsifying has somebody push another image under a tag, just before the demo looks what is there.
func falsifying(name string) func(context.Context, story.Fact) error {
	return func(ctx context.Context, fact story.Fact) error {
		if fact.Name == name {
			tag := fact.About.(story.TagOf) //nolint:errcheck,forcetypeassert // the test names a fact of a tag
			other, err := baseimage.Pack(baseimage.File{Path: "/other", Content: []byte("another image\n")})
			if err == nil {
				err = tag.Registry.Push(ctx, story.ImageName+":"+tag.Tag, other)
			}
			if err != nil {
				return err
			}
		}
		return fact.Holds(ctx)
	}
}

// TestTheDemoFailsOverAFalseFact runs the demo as a program of its own, in which the first version of the service is
// replaced in production by somebody else.
func TestTheDemoFailsOverAFalseFact(t *testing.T) {
	t.Parallel()
	if err := sandbox.Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("THE DEMO IS NOT TESTED: %v", err)
	}
	const name = "production holds 1.0, the very image that testing has"
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	defer cancel()
	temporary := t.TempDir()
	if err := os.Chmod(temporary, 0o755); err != nil { //nolint:gosec // pods run as another user
		t.Fatal(err)
	}
	demo := exec.CommandContext(ctx, "/proc/self/exe")
	demo.Env = append(os.Environ(), falseFact+"="+name, "TMPDIR="+temporary)
	var stdout, stderr bytes.Buffer
	demo.Stdout, demo.Stderr = &stdout, &stderr
	err := demo.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
	last := lines[len(lines)-1]
	if status := demo.ProcessState.ExitCode(); status != 1 || !strings.HasPrefix(last, "demo: ") || !strings.Contains(last, "not true: "+name+": it is \"sha256:") {
		t.Errorf("exit status %d, want 1 and the fact in the last line:\n%s\n%s", status, &stdout, &stderr)
	}
	if told := stdout.String(); !strings.Contains(told, "NOT TRUE: "+name) || strings.Contains(told, "facts held") ||
		!strings.Contains(told, "ok  it says that the image was copied") || strings.Contains(told, "ok  "+name) {
		t.Errorf("it tells:\n%s", told)
	}
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}
