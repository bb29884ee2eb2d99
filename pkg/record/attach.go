package record

import (
	"context"
	"fmt"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// Upload brings what the record's manifest refers to into the repository, where nobody sees it. It may be done before
// the image is there.
func (a *Artifact) Upload(ctx context.Context, to *registry.Repository) error {
	group, groupContext := errgroup.WithContext(ctx)
	for _, blob := range a.order {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			return to.PutBlob(groupContext, a, blob)
		})
	}
	return writing(group.Wait())
}

// Attach makes the record known, after Upload, and after the image that it is about is there. An error that is a
// registry.UnlistedError says that the record is there, and that the registry cannot tell of it.
func (a *Artifact) Attach(ctx context.Context, to *registry.Repository) error {
	return writing(to.PutReferrers(ctx, a.subject, []registry.Manifest{a.manifest}))
}

// AttachAhead is Attach but for making sure that another writer has not dropped it: confirm does that, while other
// things are done.
func (a *Artifact) AttachAhead(
	ctx context.Context, to *registry.Repository,
) (confirm func(context.Context) error, err error) {
	listed, err := to.AttachReferrers(ctx, a.subject, []registry.Manifest{a.manifest})
	if err != nil {
		return nil, writing(err)
	}
	return func(ctx context.Context) error { return writing(listed(ctx)) }, nil
}

// Reference returns HOST/NAME@DIGEST of the record in a repository.
func (a *Artifact) Reference(in *registry.Repository) string {
	return in.Reference(a.manifest.Digest.String())
}

func writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("writing the record: %w", err)
}
