//go:build e2e

package gitlab

import (
	"strings"

	"github.com/google/go-cmp/cmp"

	"dockline/e2e/story"
)

// production is all that a user could find changed there: each tag of the registry with its digest, and the namespace's
// image streams and what was deployed, whole.
func (s *scenario) production() map[string]any {
	s.Helper()
	images, err := s.world.Production.Images(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	objects, err := s.world.Prod.Objects(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	return map[string]any{"images": images, "objects": objects}
}

// untouched wants production to be as it was.
func (s *scenario) untouched(before map[string]any) {
	s.Helper()
	if diff := cmp.Diff(before, s.production()); diff != "" {
		s.Errorf("production was touched (-before +after):\n%s", diff)
	}
}

// meant wants an environment's tag to have come from a version, and to mean its image.
func (s *scenario) meant(in *story.Environment, version, digest string) {
	s.Helper()
	from, means, err := in.Means(s.Context())
	if err != nil || !strings.HasSuffix(from, "/"+story.ImageName+":"+version) || means != digest {
		s.Errorf("%s is tagged from %q and means %q (%v), want %s, %q", in.Namespace, from, means, err, version, digest)
	}
}
