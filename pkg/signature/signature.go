// Package signature tells whether an image is signed by whom it must be: by the holder of a key, or keyless by somebody
// whom a certificate of a trusted authority names. It reads what cosign and others leave beside an image: the tag
// "sha256-<hex>.sig" with payloads of simple signing, and referrers that are sigstore bundles or such payloads.
//
// What counts is a signature over the digest that is asked for, of an index the index's own. A signature of anything else
// (an attestation, another image, a platform's manifest) does not make this one signed.
package signature

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// Repository is where an image's signatures are: a registry.Repository.
type Repository interface {
	Lookup(ctx context.Context, tagOrDigest string) (found registry.Manifest, present bool, err error)
	Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error)
	Blob(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error)
	Reference(tagOrDigest string) string
	Side() string
}

// Policy says whose signature is wanted: Key or Keyless, one of them.
type Policy struct {
	Key     []byte // public keys, PEM, one after the other: ECDSA, RSA of 2048 bits or more, Ed25519; one must have signed
	Keyless *Keyless
}

// Signed says which signature it was that counted.
type Signed struct {
	By string // "the key sha256:0123456789abcdef", or the identity and who vouches for it
	At string // tag or digest of the manifest that holds the signature
}

// Verifier checks signatures by one policy. It is safe for concurrent use.
type Verifier struct{ by signer }

// signer is who must have signed.
type signer interface {
	payload(content []byte, layer v1.Descriptor) (by string, err error)         // of simple signing
	bundle(content []byte, image v1.Hash) (by, predicateType string, err error) // of sigstore
	String() string
}

// New reads the policy. Its errors are of kind fault.Configuration.
func New(policy Policy) (*Verifier, error) {
	var by signer
	var err error
	switch {
	case len(policy.Key) > 0 && policy.Keyless != nil:
		err = errors.New("a key and an identity are both given, one of them is wanted")
	case len(policy.Key) > 0:
		by, err = newKeys(policy.Key)
	case policy.Keyless != nil:
		by, err = newAuthority(*policy.Keyless)
	default:
		err = errors.New("neither a key nor an identity is given")
	}
	if err != nil {
		return nil, fault.New(fault.Configuration, "reading whose signature is wanted: %w", err)
	}
	return &Verifier{by}, nil
}

// String says whose signature is wanted.
func (v *Verifier) String() string { return v.by.String() }

// Check looks for a signature of the image with this digest that counts. That there surely is none is an error of kind
// fault.Refused, which tells what was found instead; where the registry could not be asked, and nothing that it did
// answer counts, the error is the registry's.
func (v *Verifier) Check(ctx context.Context, in Repository, image v1.Hash) (Signed, error) {
	places, unasked := find(ctx, in, image)
	search := search{Verifier: v, in: in, image: image}
	unasked = errors.Join(unasked, places.each(ctx, in, func(one found) bool { return search.examine(ctx, one) }))
	switch {
	case search.signed != nil:
		return *search.signed, nil
	case search.tooMany != "":
		return Signed{}, v.refusal(in, image, search.tooMany, search.reasons)
	case unasked != nil || search.unasked != nil:
		return Signed{}, fmt.Errorf("looking for the signature of %q: %w", in.Reference(image.String()), errors.Join(unasked, search.unasked))
	case search.examined == 0:
		return Signed{}, v.refusal(in, image, "it is not signed", nil)
	}
	return Signed{}, v.refusal(in, image, fmt.Sprintf("none of its %d signatures counts", search.examined), search.reasons)
}

// search is one Check, as far as it has come. Of what it has examined it keeps a few words.
type search struct {
	*Verifier
	in       Repository
	image    v1.Hash
	examined int
	bytes    int     // of the manifests
	tooMany  string  // why no more are looked at
	signed   *Signed // when one counts
	unasked  error
	reasons  []string
}

// examine looks at the signatures in one manifest, and tells whether the search is over.
func (s *search) examine(ctx context.Context, one found) (done bool) {
	if s.bytes += len(one.Raw); s.bytes > mostSignatureBytes {
		s.tooMany = fmt.Sprintf("what may be its signatures has more than %d MiB, and none that was looked at counts", mostSignatureBytes>>20)
		return true
	}
	for _, layer := range layersOf(one.Manifest) {
		if s.examined == mostSignatures {
			s.tooMany = fmt.Sprintf("none of its first %d signatures counts", mostSignatures)
			return true
		}
		s.examined++
		by, err := s.Verifier.examine(ctx, s.in, s.image, layer)
		switch {
		case err == nil:
			s.signed = &Signed{By: by, At: one.at}
			return true
		case asking(err):
			s.unasked = errors.Join(s.unasked, err)
		case len(s.reasons) < mostReasons:
			if reason := fmt.Sprintf("%s: %v", one.at, err); !slices.Contains(s.reasons, reason) {
				s.reasons = append(s.reasons, reason)
			}
		}
	}
	return false
}

// mostReasons is how many signatures that do not count are told about, and mostSignatures how many are looked at, in
// manifests of mostSignatureBytes in all: nobody but who wants to keep us busy leaves more. A hundred of cosign's, with
// certificates and log entries, have one MiB.
const mostReasons, mostSignatures, mostSignatureBytes = 3, 100, 32 << 20

func (v *Verifier) refusal(in Repository, image v1.Hash, found string, reasons []string) error {
	if len(reasons) > 0 {
		found += ": " + strings.Join(reasons, "; ")
	}
	return fault.At(in.Side(), fault.New(fault.Refused, "checking the signature of %q: it must be signed by %s; %s",
		in.Reference(image.String()), v.by, found))
}

// asking tells whether an error is one of asking the registry, and not of what it answered.
func asking(err error) bool {
	switch fault.KindOf(err) {
	case fault.Unavailable, fault.Denied:
		return true
	}
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// examine returns who made the signature in one layer, or why it does not count. A library that a hostile signature
// crashes has not found it good.
func (v *Verifier) examine(ctx context.Context, in Repository, image v1.Hash, layer v1.Descriptor) (by string, err error) {
	defer fault.Catch(&err)
	content, err := read(ctx, in, layer)
	if err != nil {
		return "", err
	}
	if isBundle(string(layer.MediaType)) {
		by, predicate, err := v.by.bundle(content, image)
		switch {
		case err != nil:
			return "", err
		case predicate != signPredicate:
			return "", fmt.Errorf("it attests %q, which is no signature", predicate)
		}
		return by, nil
	}
	if by, err = v.by.payload(content, layer); err != nil {
		return "", err
	}
	return by, checkPayload(content, image)
}
