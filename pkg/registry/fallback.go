package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
)

// FallbackTag returns the tag under which clients keep the list of a manifest's referrers in a registry that keeps none:
// "sha256-<hex>" (distribution specification, "Referrers Tag Schema").
func FallbackTag(subject v1.Hash) string {
	return short(subject.Algorithm, 32) + "-" + short(subject.Hex, 64)
}

func short(text string, longest int) string { return text[:min(len(text), longest)] }

// tag is what a tag holds.
type tag struct {
	manifest Manifest
	present  bool
}

// addToIndex writes the fallback tag's index with these added to what it holds; not when they are in it already.
func (r *Repository) addToIndex(
	ctx context.Context, subject v1.Hash, held tag, add []Manifest,
) (written bool, err error) {
	at := FallbackTag(subject)
	cannot := func(cause error) error {
		err := fault.As(fault.Refused, &UnlistedError{Subject: subject, At: r.Reference(at), Err: cause})
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
	merged, err := mergeReferrers(index, entriesOf(add))
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
	err = r.Put(ctx, Manifest{MediaType: types.OCIImageIndex, Digest: digest, Raw: merged}, at)
	if RefusesTag(err) {
		return false, cannot(err)
	}
	return err == nil, err
}

func entriesOf(referrers []Manifest) []v1.Descriptor {
	var entries []v1.Descriptor
	for _, one := range referrers {
		entries = append(entries, one.asReferrer())
	}
	return entries
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
