package record

import (
	"context"
	"encoding/json"
	"io"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
)

// largestAttested is the most that is read of a signed attestation. What decides about something is short.
const largestAttested = 1 << 20

// Attested returns the predicates of this type that are attached to the image, are about it, and are signed by one of the
// keys, in sigstore's bundles. All others are as if they were not there: anyone may attach anything. An attestation that
// cannot be fetched is an error.
func Attested(ctx context.Context, in Place, image v1.Hash, predicateType string, keys Keys) ([]json.RawMessage, error) {
	list, err := in.Referrers(ctx, image)
	if err != nil {
		return nil, err
	}
	var all []json.RawMessage
	looks := 0
	for _, one := range list {
		told, annotated := one.Annotations[typeAnnotation]
		if !mayBe(bundleArtifact, one) || annotated && told != predicateType {
			continue
		}
		if looks++; looks > mostLooks {
			break
		}
		predicate, err := attested(ctx, in, image, one, predicateType, keys)
		switch kind := fault.KindOf(err); {
		case err != nil && kind != fault.NotFound && kind != fault.Refused && kind != fault.Wrong:
			return nil, err
		case err == nil && predicate != nil:
			all = append(all, predicate)
		}
	}
	return all, nil
}

// attested reads one; nil where there is none.
func attested(
	ctx context.Context, in Place, image v1.Hash, one v1.Descriptor, predicateType string, keys Keys,
) (json.RawMessage, error) {
	raw, err := in.Manifest(ctx, one.Digest)
	if err != nil {
		return nil, err
	}
	var held manifest
	if json.Unmarshal(raw.Raw, &held) != nil || held.ArtifactType != bundleArtifact || held.Subject == nil ||
		held.Subject.Digest != image || len(held.Layers) != 1 || held.Layers[0].MediaType != types.MediaType(bundleArtifact) ||
		held.Layers[0].Size > largestAttested || held.Layers[0].Digest.Algorithm != "sha256" {
		return nil, nil
	}
	blob, err := in.Blob(ctx, held.Layers[0])
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	content, err := io.ReadAll(io.LimitReader(blob, largestAttested))
	if err != nil {
		return nil, err
	}
	var signed bundle
	if decode(content, &signed) != nil {
		return nil, nil
	}
	return signed.Envelope.predicate(image, predicateType, keys), nil
}

// predicate returns what the envelope says of the image, when one of the keys signed it; else nil.
func (e envelope) predicate(image v1.Hash, predicateType string, keys Keys) json.RawMessage {
	text, err := unbase64(e.Payload)
	if err != nil || e.PayloadType != payloadType || len(e.Signatures) > mostSignatures || !e.signedBy(text, keys) {
		return nil
	}
	var said json.RawMessage
	read := statement{Predicate: &said}
	if decode(text, &read) != nil || read.Type != statementType || read.PredicateType != predicateType {
		return nil
	}
	for _, one := range read.Subject {
		if one.Digest[image.Algorithm] == image.Hex {
			return said
		}
	}
	return nil
}

func (e envelope) signedBy(text []byte, keys Keys) bool {
	message := encoded(e.PayloadType, text)
	for _, one := range e.Signatures {
		if signed, err := unbase64(one.Sig); err == nil && keys.verify(message, signed) != "" {
			return true
		}
	}
	return false
}
