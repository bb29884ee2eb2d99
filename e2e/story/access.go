package story

import (
	"context"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// What another story needs that is told in the same world.

// Git is how the service's repository is cloned.
type Git struct{ URL, Username, Password string }

// Git returns how the service's repository is cloned.
func (w *World) Git() Git { return Git{w.gitURL, gitUser, w.gitPassword} }

// Commit writes the service, version → what its page says, as the next commit of develop, and returns the commit.
func (w *World) Commit(message string, pages map[string]string) (string, error) {
	return w.commit(message, pages)
}

// Push writes an image, NAME:VERSION, to the registry.
func (r *Registry) Push(ctx context.Context, image string, content v1.Image) error {
	return r.push(ctx, image, content)
}

// History are the digests that the environment's tag has meant, the latest first.
func (e *Environment) History(ctx context.Context) ([]string, error) {
	tag, err := e.stream(ctx)
	return tag.History, err
}

// Runs is an error unless every pod of the service runs an image, and at least one is there.
func (e *Environment) Runs(ctx context.Context, digest string) error {
	return e.pods("", &digest).Holds(ctx)
}
