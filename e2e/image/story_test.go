//go:build e2e

package image_test

import (
	"bytes"
	"os"
	"testing"

	"dockline/e2e/story"
)

// TestTheStoryInContainers tells the demo's story with the image: the build as root, the other steps as a user whom the
// image does not know, with a read-only root and without a capability.
func TestTheStoryInContainers(t *testing.T) {
	programs, dir, shared := t.TempDir(), t.TempDir(), t.TempDir()
	if err := story.Compile(t.Context(), programs); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil { // pods run as another user
		t.Fatal(err)
	}
	world, err := story.Open(t.Context(), programs, dir)
	if err != nil {
		t.Fatal(err)
	}
	defer world.Close()
	var told bytes.Buffer
	teller := &story.Teller{Out: &told}
	err = story.Tell(t.Context(), world, story.Contained{Image: image, Environ: docker.Environ(), Dir: shared}, teller)
	if err != nil || teller.Facts < 93 {
		t.Errorf("after %d facts: %v\n%s", teller.Facts, err, &told)
	}
}
