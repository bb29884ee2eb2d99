package kaniko

import (
	"testing"

	"github.com/containerd/platforms"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

func TestRuns(t *testing.T) {
	t.Parallel()
	for platform, want := range map[string]bool{platforms.Format(platforms.DefaultSpec()): true, "windows/amd64": false} {
		if got, err := Runs(platform); err != nil || got != want {
			t.Errorf("%s: %t, want %t (%v)", platform, got, want, err)
		}
	}
	if _, err := Runs("not/a/platform/at/all"); err == nil {
		t.Error("what is no platform can be run, or not")
	}
}

func TestWithPlatform(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ platform, before, want string }{
		{"linux/arm/v7", "arm/v7", "linux/arm/v7"},
		{"linux/arm64", "arm64", "linux/arm64"},
		{"linux/s390x", "", "linux/s390x"},
	} {
		config, err := empty.Image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", row.before
		image, err := mutate.ConfigFile(empty.Image, config)
		if err != nil {
			t.Fatal(err)
		}
		changed, err := withPlatform(image, row.platform)
		if err != nil {
			t.Fatal(err)
		}
		got, err := changed.ConfigFile()
		if err != nil || got.Platform().String() != row.want {
			t.Errorf("%s: the image says %s (%v)", row.platform, got.Platform(), err)
		}
	}
}
