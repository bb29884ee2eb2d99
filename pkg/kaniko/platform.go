package kaniko

import (
	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/moby/buildkit/util/archutil"
)

// Runs tells whether this machine runs programs of a platform, OS/ARCH[/VARIANT]: its own, or one that the kernel has an
// interpreter for that is found in every root file system (binfmt_misc, flag F). A small program of the platform is run
// to find out.
func Runs(platform string) (bool, error) {
	wanted, err := platforms.Parse(platform)
	if err != nil {
		return false, err
	}
	if platforms.Default().Match(wanted) {
		return true, nil
	}
	for _, one := range archutil.SupportedPlatforms(false) {
		if platforms.NewMatcher(one).Match(wanted) {
			return true, nil
		}
	}
	return false, nil
}

// withPlatform sets what the image says of its platform: of linux/arm/v7 Kaniko makes the architecture "arm/v7".
func withPlatform(image v1.Image, platform string) (v1.Image, error) {
	wanted, err := platforms.Parse(platform)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	if config.OS == wanted.OS && config.Architecture == wanted.Architecture {
		return image, nil // with the base image's own variant
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = wanted.OS, wanted.Architecture, wanted.Variant
	return mutate.ConfigFile(image, config)
}
