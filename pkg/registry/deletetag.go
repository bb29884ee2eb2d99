package registry

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"dockline/pkg/fault"
)

// DeleteTag removes a tag, and leaves what it held: the distribution specification ("Deleting tags") lets a registry do
// so or not. One that does not answers 400 or 405, which is an error of kind fault.Refused, or demands a right that
// nobody has. That the tag is not there is fine. A manifest is never deleted by its digest: other tags may hold it.
func (r *Repository) DeleteTag(ctx context.Context, tag string) error {
	if err := r.deleteTag(ctx, tag); err != nil {
		return fault.At(r.client.side, fmt.Errorf("removing the tag %q: %w", r.Reference(tag), err))
	}
	return nil
}

func (r *Repository) deleteTag(ctx context.Context, tag string) error {
	if tag == "" || strings.ContainsAny(tag, ":/") {
		return fault.New(fault.Unexpected, "it is not a tag")
	}
	answer, err := r.client.do(ctx, call{
		method: http.MethodDelete,
		at:     "/v2/" + r.path + "/manifests/" + tag,
		scopes: r.scopes("delete"),
	})
	if err != nil {
		return err
	}
	if answer.StatusCode >= 200 && answer.StatusCode <= 299 {
		discard(answer)
		return nil
	}
	if err := failure(answer); fault.KindOf(err) != fault.NotFound {
		return r.explain(err)
	}
	return nil
}
