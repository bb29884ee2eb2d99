package signature

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

const (
	// simpleSigning is the media type of cosign's payloads (cosign, specs/SIGNATURE_SPEC.md).
	simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	// cosignReferrer is the type of a referrer that holds such payloads (cosign's experiment with OCI 1.1).
	cosignReferrer = "application/vnd.dev.cosign.artifact.sig.v1+json"
	// emptyConfig stands as the type of a referrer whose maker named none.
	emptyConfig = "application/vnd.oci.empty.v1+json"
	// largestSignature is far above what any tool writes: some KiB, and a bundle with a proof of a log some more.
	largestSignature = 1 << 20
)

// isBundle tells a sigstore bundle's media type, in both of its spellings ("…bundle.v0.3+json", "…bundle+json;version=0.2").
func isBundle(mediaType string) bool {
	return strings.HasPrefix(mediaType, "application/vnd.dev.sigstore.bundle")
}

type found struct {
	registry.Manifest
	at string // its tag, or its digest
}

// places are where signatures of an image may be: cosign's tag, which is read already, and what a list of referrers names.
type places struct {
	tagged *found
	listed []v1.Hash
}

// find asks for both at once. The error says what could not be asked; what the rest of the registry answered is returned
// beside it.
func find(ctx context.Context, in Repository, image v1.Hash) (places, error) {
	var all places
	var tagError, listError error
	var both sync.WaitGroup
	both.Go(func() {
		defer fault.Catch(&tagError)
		tag := image.Algorithm + "-" + image.Hex + ".sig"
		manifest, present, err := in.Lookup(ctx, tag)
		if tagError = err; present {
			all.tagged = &found{manifest, tag}
		}
	})
	both.Go(func() {
		defer fault.Catch(&listError)
		all.listed, listError = referrers(ctx, in, image)
	})
	both.Wait()
	return all, errors.Join(tagError, listError)
}

// referrers returns the digests of those that may be signatures, and of them not more than are looked at.
func referrers(ctx context.Context, in Repository, image v1.Hash) ([]v1.Hash, error) {
	all, err := in.Referrers(ctx, image)
	if err != nil {
		return nil, err
	}
	var some []v1.Hash
	for _, one := range all {
		kind := one.ArtifactType
		if kind != "" && kind != emptyConfig && kind != cosignReferrer && !isBundle(kind) {
			continue
		}
		if len(some) == mostSignatures {
			break // Check counts what they hold
		}
		some = append(some, one.Digest)
	}
	return some, nil
}

// each calls do with one manifest after the other, of which it keeps none, until done is true. The error says what could
// not be asked. A list that names what is gone is no news of a signature.
func (p *places) each(ctx context.Context, in Repository, do func(found) (done bool)) error {
	if tagged := p.tagged; tagged != nil {
		if p.tagged = nil; do(*tagged) {
			return nil
		}
	}
	var unasked error
	for _, digest := range p.listed {
		manifest, present, err := in.Lookup(ctx, digest.String())
		unasked = errors.Join(unasked, err)
		if present && do(found{manifest, digest.String()}) {
			break
		}
	}
	return unasked
}

// layersOf returns the layers of a manifest that may be signatures.
func layersOf(manifest registry.Manifest) []v1.Descriptor {
	var content struct {
		Layers []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(manifest.Raw, &content); err != nil {
		return nil
	}
	return slices.DeleteFunc(content.Layers, func(layer v1.Descriptor) bool {
		return layer.MediaType != simpleSigning && !isBundle(string(layer.MediaType))
	})
}

func read(ctx context.Context, in Repository, layer v1.Descriptor) ([]byte, error) {
	if layer.Size > largestSignature {
		return nil, fmt.Errorf("it has %d bytes, and 1 MiB are the most that is read", layer.Size)
	}
	blob, err := in.Blob(ctx, layer)
	if err != nil {
		return nil, err
	}
	defer blob.Close()
	return io.ReadAll(io.LimitReader(blob, largestSignature+1))
}
