package registry

import (
	"context"
	"fmt"
	"net/http"

	"dockline/pkg/fault"
)

// CheckPush tells whether this repository may be written to, before anything is made for it: it opens an upload
// session and ends it. Nothing is left behind in a registry that can end one; in another the session expires.
func (r *Repository) CheckPush(ctx context.Context) error {
	var opened session
	err := r.client.repeat(ctx, func() error {
		var err error
		opened, err = r.postUpload(ctx, nil)
		return err
	})
	if err != nil {
		return fault.At(r.client.side, fmt.Errorf("asking whether %q may be written to: %w", r, err))
	}
	if opened.location == "" {
		return nil
	}
	answer, err := r.client.once(ctx, call{method: http.MethodDelete, at: opened.location, scopes: r.scopes("pull,push")})
	if err == nil {
		discard(answer) // ending a session is optional in the specification; it was only asked for out of politeness
	}
	return ctx.Err()
}
