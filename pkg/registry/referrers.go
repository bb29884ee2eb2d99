package registry

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// Referrers returns the descriptors of the manifests that name subject as their [Manifest.Subject], in the order of
// their digests; none when there surely are none. Every doubt is an error, as in [Repository.Lookup]: no permission, an
// answer that is not a registry's, a registry that is out of order.
//
// The registry's list (distribution specification, "Listing Referrers") and the fallback tag ("Referrers Tag Schema")
// are asked at once, and what either lists is returned: a registry that has learned to list by itself may not list what
// was attached before. A registry that answers the fallback tag with subject itself, as GitLab's does, has no such tag.
// Nobody checks the tag's list but who writes it: it may name what was deleted since, or what has another subject.
func (r *Repository) Referrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, error) {
	var listed, tagged []v1.Descriptor
	var api support
	group, groupContext := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		listed, api, err = r.listReferrers(groupContext, subject)
		return err
	})
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		tagged, err = r.taggedReferrers(groupContext, subject)
		return err
	})
	err := group.Wait()
	if err == nil && api == listDoubtful {
		// The tag was answered by a registry, so the page was not one for all requests. If it comes once more, it is
		// what this registry, or the proxy before it, says to a request that it does not know.
		listed, _, err = r.listReferrers(ctx, subject)
	}
	var all []v1.Descriptor
	if err == nil {
		if all, err = either(subject, listed, tagged); err != nil {
			err = fault.WithHint(fault.As(fault.Refused, err), hostileHint)
		}
	}
	if err != nil {
		return nil, fault.At(r.client.side, fmt.Errorf("listing the referrers of %q: %w", r.Reference(subject.String()), err))
	}
	return all, nil
}

// either leaves out what is listed twice, and the subject itself, which cannot be about itself.
func either(subject v1.Hash, lists ...[]v1.Descriptor) ([]v1.Descriptor, error) {
	var all []v1.Descriptor
	seen := map[v1.Hash]bool{subject: true}
	for _, list := range lists {
		for _, one := range list {
			if one.Digest.Hex == "" || one.Size < 0 || one.Size > largestManifest {
				return nil, fmt.Errorf("entry %q has no digest, or the impossible size %d", one.Digest, one.Size)
			}
			if !seen[one.Digest] {
				seen[one.Digest] = true
				all = append(all, one)
			}
		}
	}
	slices.SortFunc(all, func(a, b v1.Descriptor) int { return cmp.Compare(a.Digest.String(), b.Digest.String()) })
	if len(all) > mostDescriptors {
		return nil, errTooMany
	}
	return all, nil
}

// support is what a first answer says of a registry's list of referrers.
type support int

const (
	listOffered  support = iota // there is one
	listMissing                 // the registry has none
	listDoubtful                // a page of HTML says that there is none, so a registry did not
)

// listReferrers asks for the registry's own list.
func (r *Repository) listReferrers(ctx context.Context, subject v1.Hash) ([]v1.Descriptor, support, error) {
	var list []v1.Descriptor
	var count pages
	at := "/v2/" + r.path + "/referrers/" + subject.String()
	for first := true; ; first = false {
		var got page
		answer := listOffered
		err := r.client.repeat(ctx, func() (err error) {
			if got, err = r.page(ctx, at, string(types.OCIImageIndex)); first && err != nil {
				if answer = supportOf(err); answer != listOffered {
					return nil
				}
			}
			return err
		})
		if err != nil || answer != listOffered {
			return nil, answer, err
		}
		more, err := readReferrers(got)
		if err != nil {
			return nil, listOffered, err
		}
		if list = append(list, more...); len(list) > mostDescriptors {
			return nil, listOffered, fault.WithHint(fault.As(fault.Refused, errTooMany), hostileHint)
		}
		if got.next == "" {
			return list, listOffered, nil
		}
		if err := count.another(got); err != nil {
			return nil, listOffered, err
		}
		at = got.next
	}
}

// supportOf judges an answer other than 200. The specification has 404 for a registry that knows no such list; others
// say 400 (go-containerregistry's client knows of them), 405, 406 (Artifactory) or 501. What may have another reason
// (401, 403, 429, a redirect to elsewhere, any other 5xx) leaves the error as it is. Nothing is taken for "none" by that
// alone: the fallback tag must be answered by a registry too.
func supportOf(err error) support {
	status, ok := errors.AsType[*StatusError](err)
	if !ok {
		return listOffered
	}
	switch status.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable,
		http.StatusNotImplemented:
	default:
		return listOffered
	}
	// Plain text is what the web frameworks of registries say by themselves: distribution's "404 page not found".
	if status.Foreign == "" || strings.HasPrefix(status.Foreign, "text/plain") || status.Foreign == "application/json" {
		return listMissing
	}
	return listDoubtful
}

// readReferrers reads a page of the list: an OCI index. Its type must be said in one place at least, except that Harbor
// 2.9 says "application/json" in the header, and in the body it may be missing.
func readReferrers(got page) ([]v1.Descriptor, error) {
	var read struct {
		SchemaVersion int             `json:"schemaVersion"`
		MediaType     types.MediaType `json:"mediaType"`
		Manifests     descriptors     `json:"manifests"`
	}
	err := json.Unmarshal(got.body, &read)
	if errors.Is(err, errTooMany) {
		return nil, fault.WithHint(fault.As(fault.Refused, err), hostileHint)
	}
	kind := types.MediaType(got.mediaType)
	if read.MediaType != "" {
		kind = read.MediaType
	}
	index := kind == types.OCIImageIndex || kind == "application/json" && read.Manifests != nil
	if err != nil || read.SchemaVersion != 2 || !index {
		return nil, notARegistry("the body is not a list of referrers")
	}
	return read.Manifests, nil
}
