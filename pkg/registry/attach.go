package registry

import (
	"context"
	"fmt"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// PutReferrers writes manifests that have this subject by their digests, so that whoever asks for the subject's
// referrers is told of them: by the registry where it keeps the list, else by the fallback tag, to whose index they are
// added. What they refer to must be there.
//
// The list is read again afterwards, and what has dropped out of it is added again, some times: the protocol has no way
// to write a tag only if it is unchanged, so another writer's index may have taken the place of ours; and some
// registries lose one of two entries that come at once. What another writer added to the tag between our reading and our
// writing is lost, as it would be by any client. Writers in this program wait for one another.
//
// An error that is an [UnlistedError] says that the manifests are stored, and that the registry cannot list them.
func (r *Repository) PutReferrers(ctx context.Context, subject v1.Hash, referrers []Manifest) error {
	confirm, err := r.AttachReferrers(ctx, subject, referrers)
	if err != nil {
		return err
	}
	return confirm(ctx)
}

// AttachReferrers is PutReferrers but for the reading after the writing, and what that leads to: confirm does it. It is
// for callers that have other things to do meanwhile.
func (r *Repository) AttachReferrers(
	ctx context.Context, subject v1.Hash, referrers []Manifest,
) (confirm func(context.Context) error, err error) {
	for _, one := range referrers {
		if named, _ := one.Subject(); named != subject {
			return nil, fault.At(r.client.side, fault.New(fault.Unexpected,
				"attaching %q to %q: its subject is another: %q", one.Digest, r.Reference(subject.String()), named))
		}
	}
	var listed, tagged []Manifest
	err = r.inTurn(ctx, subject, func() (err error) {
		var held tag
		listed, tagged, held, err = r.writeReferrers(ctx, subject, referrers)
		if err != nil || len(tagged) == 0 {
			return err
		}
		written, err := r.addToIndex(ctx, subject, held, tagged)
		if !written {
			tagged = nil // there already: the reading before has shown it
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context) error {
		if len(tagged) > 0 {
			if err := r.keepTagged(ctx, subject, tagged); err != nil {
				return err
			}
		}
		if len(listed) > 0 {
			return r.keepListed(ctx, subject, listed)
		}
		return nil
	}, nil
}

// inTurn has whoever changes the list of a subject's referrers in this repository wait for one another.
func (r *Repository) inTurn(ctx context.Context, subject v1.Hash, change func() error) error {
	release, err := r.registry.merges.take(ctx, r.path+":"+FallbackTag(subject))
	if err != nil {
		return err
	}
	defer release()
	return change()
}

// writeReferrers puts the manifests, and reads the fallback tag meanwhile. It tells those that the registry says it
// lists from the others, which the tag must list.
func (r *Repository) writeReferrers(
	ctx context.Context, subject v1.Hash, referrers []Manifest,
) (listed, others []Manifest, held tag, err error) {
	lists := make([]bool, len(referrers))
	write := func(ctx context.Context, i int) (err error) {
		lists[i], err = r.writeReferrer(ctx, subject, referrers[i])
		return err
	}
	var lookup error
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelReferrers)
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		held.manifest, held.present, lookup = r.Lookup(groupContext, FallbackTag(subject))
		return nil // where the registry keeps the list, the tag does not matter
	})
	// One after the other while the registry lists them: olareg 0.2 loses all but one of several that come at once.
	apart := true
	for i := range referrers {
		if apart {
			if err = write(groupContext, i); err != nil {
				break
			}
			apart = lists[i]
			continue
		}
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			return write(groupContext, i)
		})
	}
	if waited := group.Wait(); err == nil {
		err = waited
	}
	if err != nil {
		return nil, nil, held, err
	}
	for i, one := range referrers {
		if lists[i] {
			listed = append(listed, one)
		} else {
			others = append(others, one)
		}
	}
	if len(others) == 0 {
		lookup = nil
	}
	return listed, others, held, lookup
}

// writeReferrer puts one, and tells whether the registry says that it lists it ("Pushing Manifests with Subject").
func (r *Repository) writeReferrer(ctx context.Context, subject v1.Hash, referrer Manifest) (listed bool, err error) {
	header, err := r.put(ctx, referrer, referrer.Digest.String())
	if err != nil {
		return false, fault.At(r.client.side, fmt.Errorf("writing %q: %w", r.Reference(referrer.Digest.String()), err))
	}
	return header.Get("OCI-Subject") == subject.String(), nil
}

const (
	// parallelReferrers is how many manifests that refer to one are written at a time.
	parallelReferrers = 4
	// mostMerges bounds how often what was listed may drop out again.
	mostMerges = 6
)

// keepListed reads the registry's own list, and writes again what it lacks. AWS ECR is known to have said of manifests
// that it lists them when it had no list: then the fallback tag lists them.
func (r *Repository) keepListed(ctx context.Context, subject v1.Hash, referrers []Manifest) error {
	for attempt := 2; ; attempt++ {
		list, api, err := r.listReferrers(ctx, subject)
		if err != nil {
			return fault.At(r.client.side, fmt.Errorf("listing the referrers of %q: %w", r.Reference(subject.String()), err))
		}
		if api != listOffered {
			return r.keepTagged(ctx, subject, referrers)
		}
		referrers = slices.DeleteFunc(slices.Clone(referrers), func(one Manifest) bool {
			return slices.ContainsFunc(list, func(entry v1.Descriptor) bool { return entry.Digest == one.Digest })
		})
		if len(referrers) == 0 {
			return nil
		}
		if attempt > mostMerges {
			return r.dropped(fmt.Sprintf("listing what was attached to %q: the registry's list does not keep it",
				r.Reference(subject.String())))
		}
		err = r.inTurn(ctx, subject, func() error {
			if err := sleep(ctx, r.client.patience.wait(attempt, 0)); err != nil {
				return err
			}
			for _, one := range referrers {
				if _, err := r.writeReferrer(ctx, subject, one); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// keepTagged reads the fallback tag, and adds to it again what another writer has dropped.
func (r *Repository) keepTagged(ctx context.Context, subject v1.Hash, referrers []Manifest) error {
	at := FallbackTag(subject)
	for attempt := 2; ; attempt++ {
		manifest, present, err := r.Lookup(ctx, at)
		if err != nil {
			return err
		}
		if present && isFallbackIndex(manifest, subject) {
			if merged, err := mergeReferrers(manifest.Raw, entriesOf(referrers)); err == nil && merged == nil {
				return nil
			}
		}
		if attempt > mostMerges {
			return r.dropped(fmt.Sprintf("writing %q: each time another writer's list took the place of ours", r.Reference(at)))
		}
		err = r.inTurn(ctx, subject, func() error {
			if err := sleep(ctx, r.client.patience.wait(attempt, 0)); err != nil {
				return err
			}
			manifest, present, err := r.Lookup(ctx, at)
			if err == nil {
				_, err = r.addToIndex(ctx, subject, tag{manifest, present}, referrers)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
}

func (r *Repository) dropped(what string) error {
	return fault.At(r.client.side, fault.WithHint(fault.New(fault.Unavailable, "%s", what),
		"let one program at a time attach something to an image, and run this again: it completes what is missing"))
}

// UnlistedError says that referrers are stored in a registry, but that neither it nor the fallback tag tells of them, so
// that only who knows their digests finds them. GitLab's registry takes the tag for another way to write the subject's
// digest; others have a rule that protects it.
type UnlistedError struct {
	Subject v1.Hash
	At      string // the fallback tag's reference
	Err     error  // why
}

// Error tells of the tag, and why it cannot be used.
func (e *UnlistedError) Error() string {
	return fmt.Sprintf("listing what was attached to %q at %q: %v", e.Subject, e.At, e.Err)
}

// Unwrap returns the cause.
func (e *UnlistedError) Unwrap() error { return e.Err }
