package record

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// Place is what records are read from: a registry.Repository.
type Place interface {
	registry.Source
	Side() string
	// Referrers returns the descriptors of all manifests that refer to the subject.
	Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error)
}

const (
	// mostRecords bounds what reading them can cost. An image has one or two for each environment and promotion.
	mostRecords = 500
	// parallelReads is how many are read at a time: each is two small requests.
	parallelReads = 8
	// mostLooks bounds the same for a question to which a wrong "no" does no harm.
	mostLooks = 20
)

// Promotions returns the records of promotions of the image with the digest subject, the oldest first, whoever signed
// them or nobody. What is attached there and is no record is left out: anyone may attach anything. A record that cannot
// be fetched is an error, since it is not known what it says.
func Promotions(ctx context.Context, from Place, subject v1.Hash, keys Keys) ([]Signed, error) {
	return attached(ctx, from, subject, PromotionArtifact, keys)
}

// Verifications is Promotions for the records of verifications.
func Verifications(ctx context.Context, from Place, subject v1.Hash, keys Keys) ([]Signed, error) {
	return attached(ctx, from, subject, VerificationArtifact, keys)
}

// Promoted tells whether a record says that the image was promoted to the reference, so that a second one need not be
// written. With keys, one of them must have signed it. Without, the list of referrers may be enough, which proves nothing.
// A record that is listed and not there does not count.
func Promoted(ctx context.Context, in Place, subject v1.Hash, to string, keys Keys) (bool, error) {
	list, err := in.Referrers(ctx, subject)
	if err != nil {
		return false, err
	}
	looks := 0
	for _, one := range list {
		told, annotated := one.Annotations[toAnnotation]
		switch {
		case !mayBe(PromotionArtifact, one) || annotated && told != to:
			continue
		case annotated && keys == nil:
			return true, nil
		}
		if looks++; looks > mostLooks {
			return false, nil
		}
		read, err := fetch(ctx, in, subject, one, PromotionArtifact, keys)
		switch kind := fault.KindOf(err); {
		case err != nil && kind != fault.NotFound && kind != fault.Refused && kind != fault.Wrong:
			return false, err
		case err == nil && read != nil && read.Promotion.To == to && (keys == nil || read.Key != ""):
			return true, nil
		}
	}
	return false, nil
}

// mayBe tells whether a list's entry may be a record of that type. Registries of before the specification's version 1.1
// repeat the type of the configuration, which is empty here, or nothing: there each entry has to be looked into.
func mayBe(artifactType string, one v1.Descriptor) bool {
	return one.ArtifactType == artifactType || one.ArtifactType == "" || one.ArtifactType == string(emptyConfig)
}

func attached(ctx context.Context, from Place, subject v1.Hash, artifactType string, keys Keys) ([]Signed, error) {
	list, err := from.Referrers(ctx, subject)
	if err != nil {
		return nil, err
	}
	list = slices.DeleteFunc(list, func(one v1.Descriptor) bool { return !mayBe(artifactType, one) })
	if len(list) > mostRecords {
		return nil, fault.At(from.Side(), fault.New(fault.Refused,
			"reading the records of %q: there are %d, and %d are the most that are read", subject, len(list), mostRecords))
	}
	found := make([]*Signed, len(list))
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelReads)
	for i, one := range list {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			found[i], err = fetch(groupContext, from, subject, one, artifactType, keys)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var records []Signed
	for _, one := range found {
		if one != nil {
			records = append(records, *one)
		}
	}
	slices.SortStableFunc(records, func(a, b Signed) int { return a.Time().Compare(b.Time()) })
	return records, nil
}

// fetch reads one record. It is nil where there is none: an artifact of another type, or one that is not of our making.
// A record that a known key signed, and that cannot be understood, is an error: it may say the opposite.
func fetch(
	ctx context.Context, from Place, subject v1.Hash, one v1.Descriptor, artifactType string, keys Keys,
) (*Signed, error) {
	raw, err := from.Manifest(ctx, one.Digest)
	if err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	var read manifest
	if err := json.Unmarshal(raw.Raw, &read); err != nil || read.ArtifactType != artifactType ||
		read.Subject == nil || read.Subject.Digest != subject || len(read.Layers) != 1 || !fits(read.Layers[0]) {
		return nil, nil //nolint:nilnil,nilerr // no record
	}
	blob, err := from.Blob(ctx, read.Layers[0])
	if err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	defer blob.Close()
	content, err := io.ReadAll(io.LimitReader(blob, largestRecord+1))
	if err != nil {
		return nil, fmt.Errorf("reading a record: %w", err)
	}
	signed, err := Read(content, keys)
	switch {
	case err != nil && signed.Key != "":
		return nil, fault.WithHint(fault.At(from.Side(), fmt.Errorf("%q is signed: %w", one.Digest, err)),
			"a newer version of this program may have written it: use that one")
	case err != nil, artifactTypes[signed.Type()] != artifactType:
		return nil, nil //nolint:nilnil,nilerr // no record
	case signed.Digest != subject: // one of another image, attached to this one
		return nil, nil //nolint:nilnil // no record of this image
	}
	return &signed, nil
}

func fits(layer v1.Descriptor) bool {
	return (layer.MediaType == statementLayer || layer.MediaType == envelopeLayer) &&
		layer.Digest.Algorithm == "sha256" && layer.Size <= largestRecord && layer.Size > 0
}
