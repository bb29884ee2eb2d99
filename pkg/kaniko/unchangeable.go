package kaniko

import (
	"path/filepath"
	"strings"

	"dockline/pkg/fault"
)

// unchangeable refuses a folder that root in this container could change: one that is not mounted read-only, or that
// another mount shows for writing too. Root cannot mount it anew without CAP_SYS_ADMIN, which a RUN never has.
func unchangeable(dir string, mounts []mount) error {
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return fault.New(fault.Refused, "refusing to build: looking how %q is mounted: %w", dir, err)
	}
	at := mountOf(real, mounts)
	if !at.readOnly {
		return fault.WithHint(
			fault.New(fault.Refused, "refusing to build: a RUN could change %q, which is trusted after the build", dir),
			"mount it read-only in the container that builds")
	}
	inside := filepath.Join(at.root, strings.TrimPrefix(real, at.point))
	for _, other := range mounts {
		if other.device == at.device && !other.readOnly && (below(inside, other.root) || below(other.root, inside)) {
			return fault.WithHint(
				fault.New(fault.Refused, "refusing to build: a RUN could change %q by way of %q, and it is trusted after the build",
					dir, other.point),
				"mount the volume once, and read-only, in the container that builds")
		}
	}
	return nil
}
