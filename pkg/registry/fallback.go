package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// FallbackTag returns the tag under which clients keep the list of a manifest's referrers in a registry that keeps none:
// "sha256-<hex>" (distribution specification, "Referrers Tag Schema").
func FallbackTag(subject v1.Hash) string {
	return short(subject.Algorithm, 32) + "-" + short(subject.Hex, 64)
}

func short(text string, longest int) string { return text[:min(len(text), longest)] }

// PutReferrer is PutReferrers for one.
func (r *Repository) PutReferrer(ctx context.Context, referrer Manifest, subject v1.Hash) error {
	return r.PutReferrers(ctx, subject, []Manifest{referrer})
}

// PutReferrers writes manifests that have this subject by their digests, so that whoever asks for the subject's
// referrers is told of them: by the registry where it keeps the list, else by the fallback tag, to whose index they are
// added. What they refer to must be there.
//
// The protocol has no way to write a tag only if it is unchanged. So the index is read again after it was written, and
// written again as long as another writer's has taken its place, some times. What another writer added between our
// reading and our writing is lost, as it would be by any client; writers in this program wait for one another.
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
	release, err := r.registry.merges.take(ctx, r.path+":"+FallbackTag(subject))
	if err != nil {
		return nil, err
	}
	defer release()
	unlisted, held, err := r.writeReferrers(ctx, subject, referrers)
	if err != nil {
		return nil, err
	}
	nothing := func(context.Context) error { return nil }
	if len(unlisted) == 0 {
		return nothing, nil
	}
	written, err := r.addToIndex(ctx, subject, held, unlisted)
	if err != nil || !written {
		return nothing, err
	}
	return func(ctx context.Context) error { return r.keepListed(ctx, subject, unlisted) }, nil
}

// tagged is what a tag holds.
type tagged struct {
	manifest Manifest
	present  bool
}

// writeReferrers puts the manifests, and reads the fallback tag meanwhile. It returns those that the registry did not
// say that it lists.
func (r *Repository) writeReferrers(
	ctx context.Context, subject v1.Hash, referrers []Manifest,
) (unlisted []v1.Descriptor, held tagged, err error) {
	listed := make([]bool, len(referrers))
	var lookup error
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelReferrers)
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		held.manifest, held.present, lookup = r.Lookup(groupContext, FallbackTag(subject))
		return nil // where the registry keeps the list, the tag does not matter
	})
	for i, one := range referrers {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			header, err := r.put(groupContext, one, one.Digest.String())
			if err != nil {
				return fault.At(r.client.side, fmt.Errorf("writing %q: %w", r.Reference(one.Digest.String()), err))
			}
			listed[i] = header.Get("OCI-Subject") == subject.String()
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, held, err
	}
	for i, one := range referrers {
		if !listed[i] {
			unlisted = append(unlisted, one.asReferrer())
		}
	}
	if len(unlisted) == 0 {
		lookup = nil
	}
	return unlisted, held, lookup
}

const (
	// parallelReferrers is as many as blobs: what registries put up with from one client.
	parallelReferrers = 4
	// mostMerges bounds how often another writer may come between.
	mostMerges = 6
)

// addToIndex writes the fallback tag's index with these added to what it holds; not when they are in it already.
func (r *Repository) addToIndex(
	ctx context.Context, subject v1.Hash, held tagged, add []v1.Descriptor,
) (written bool, err error) {
	tag := FallbackTag(subject)
	cannot := func(cause error) error {
		err := fault.As(fault.Refused, &UnlistedError{Subject: subject, At: r.Reference(tag), Err: cause})
		return fault.At(r.client.side, fault.WithHint(err, "the registry keeps no list of referrers, and its tag for one cannot be used: "+
			"upgrade the registry, or lift the rule that protects the tag"))
	}
	var index []byte
	if held.present {
		if !isFallbackIndex(held.manifest, subject) {
			return false, cannot(fmt.Errorf("it holds %q, which is no list", held.manifest.Digest))
		}
		index = held.manifest.Raw
	}
	merged, err := mergeReferrers(index, add)
	if err != nil {
		return false, cannot(err)
	}
	if merged == nil {
		return false, nil
	}
	digest, _, err := v1.SHA256(bytes.NewReader(merged))
	if err != nil {
		return false, err
	}
	err = r.Put(ctx, Manifest{MediaType: types.OCIImageIndex, Digest: digest, Raw: merged}, tag)
	if RefusesTag(err) {
		return false, cannot(err)
	}
	return err == nil, err
}

// keepListed reads the fallback tag, and adds to it again what another writer has dropped.
func (r *Repository) keepListed(ctx context.Context, subject v1.Hash, add []v1.Descriptor) error {
	tag := FallbackTag(subject)
	var release func()
	defer func() {
		if release != nil {
			release()
		}
	}()
	for attempt := 2; ; attempt++ {
		manifest, present, err := r.Lookup(ctx, tag)
		if err != nil {
			return err
		}
		if present && isFallbackIndex(manifest, subject) {
			if merged, err := mergeReferrers(manifest.Raw, add); err == nil && merged == nil {
				return nil
			}
		}
		if attempt > mostMerges {
			return fault.At(r.client.side, fault.WithHint(fault.New(fault.Unavailable,
				"writing %q: each time another writer's list took the place of ours", r.Reference(tag)),
				"let one program at a time attach something to an image, and run this again: it completes what is missing"))
		}
		if release == nil {
			if release, err = r.registry.merges.take(ctx, r.path+":"+tag); err != nil {
				return err
			}
		}
		if err := sleep(ctx, r.client.patience.wait(attempt, 0)); err != nil {
			return err
		}
		if manifest, present, err = r.Lookup(ctx, tag); err != nil {
			return err
		}
		if _, err := r.addToIndex(ctx, subject, tagged{manifest, present}, add); err != nil {
			return err
		}
	}
}

// taggedReferrers reads the fallback tag. What is not a list there lists nothing (distribution specification, "Listing
// Referrers", its end).
func (r *Repository) taggedReferrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	found, present, err := r.Lookup(ctx, FallbackTag(subject))
	if err != nil || !present || !isFallbackIndex(found, subject) {
		return nil, err
	}
	return found.Children(), nil
}

// isFallbackIndex tells a list of referrers from what else the tag may hold: the subject itself, where a registry takes
// the tag for another way to write the digest, or an image that somebody tagged so.
func isFallbackIndex(held Manifest, subject v1.Hash) bool {
	return held.MediaType == types.OCIImageIndex && held.Digest != subject
}

// mergeReferrers adds descriptors to an index, given as its bytes, and leaves all that it holds as it is; nil makes a new
// one. It returns nil when they are all in it.
func mergeReferrers(index []byte, add []v1.Descriptor) ([]byte, error) {
	fields := map[string]json.RawMessage{
		"schemaVersion": json.RawMessage("2"),
		"mediaType":     json.RawMessage(`"` + string(types.OCIImageIndex) + `"`),
	}
	var read content
	var entries []json.RawMessage
	if index != nil {
		clear(fields)
		if err := errors.Join(json.Unmarshal(index, &read), json.Unmarshal(index, &fields)); err != nil {
			return nil, fmt.Errorf("its list cannot be read: %w", err)
		}
		if list := fields["manifests"]; list != nil {
			if err := json.Unmarshal(list, &entries); err != nil {
				return nil, fmt.Errorf("its list cannot be read: %w", err)
			}
		}
		if fields == nil || len(entries) != len(read.Manifests) { // "null"; or the list in another case, or twice
			return nil, errors.New("its list is not written as one")
		}
	}
	there := map[v1.Hash]bool{}
	for _, one := range read.Manifests {
		there[one.Digest] = true
	}
	before := len(entries)
	for _, one := range add {
		if there[one.Digest] {
			continue
		}
		there[one.Digest] = true
		entry, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		entries = append(entries, entry)
	}
	switch {
	case len(entries) == before:
		return nil, nil
	case len(entries) > mostDescriptors:
		return nil, errTooMany
	}
	list, err := json.Marshal(entries)
	if err != nil {
		return nil, err
	}
	fields["manifests"] = list
	return json.Marshal(fields)
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
