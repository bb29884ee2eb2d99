package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/fault"
)

// Manifest is an image manifest, an index or another artifact's manifest, byte for byte as the registry holds it.
type Manifest struct {
	MediaType types.MediaType
	Digest    v1.Hash // of Raw, computed here
	Raw       []byte
}

// largestManifest is twice what the distribution specification has registries accept ("Pushing Manifests": 4 MiB).
const largestManifest = 8 << 20

// Lookup tells what a tag or a digest stands for, in three ways: present (true), surely absent (false, nil), or unknown
// (an error). Only an answer 404 of a registry means absent; that includes a repository that is not there yet. All
// else is an error: no permission, any other status, a redirect to another host, a body that is not a manifest or does
// not have the digest that was asked for or announced.
func (r *Repository) Lookup(ctx context.Context, tagOrDigest string) (found Manifest, present bool, err error) {
	return r.lookup(ctx, tagOrDigest, largestManifest)
}

// lookup is Lookup for a manifest of at most that many bytes.
func (r *Repository) lookup(ctx context.Context, tagOrDigest string, most int64) (found Manifest, present bool, err error) {
	err = r.client.repeat(ctx, func() error {
		found, present, err = r.lookupOnce(ctx, tagOrDigest, most)
		return err
	})
	if err != nil {
		return Manifest{}, false, fault.At(r.client.side, fmt.Errorf("resolving %q: %w", r.Reference(tagOrDigest), err))
	}
	return found, present, nil
}

// Resolve is Lookup for what must be there: absence is an error of kind fault.NotFound.
func (r *Repository) Resolve(ctx context.Context, tagOrDigest string) (Manifest, error) {
	return r.resolve(ctx, tagOrDigest, largestManifest)
}

func (r *Repository) resolve(ctx context.Context, tagOrDigest string, most int64) (Manifest, error) {
	found, present, err := r.lookup(ctx, tagOrDigest, most)
	if err == nil && !present {
		err = fault.At(r.client.side, fault.New(fault.NotFound, "resolving %q: it is not there", r.Reference(tagOrDigest)))
	}
	return found, err
}

// Manifest returns the manifest of a digest, as Resolve does.
func (r *Repository) Manifest(ctx context.Context, digest v1.Hash) (Manifest, error) {
	return r.Resolve(ctx, digest.String())
}

// Put writes the manifest under a tag, or under its own digest when tag is "". What it refers to must be there.
// An answer that refuses is a [StatusError].
func (r *Repository) Put(ctx context.Context, manifest Manifest, tag string) error {
	at := tag
	if at == "" {
		at = manifest.Digest.String()
	}
	if _, err := r.put(ctx, manifest, at); err != nil {
		return fault.At(r.client.side, fmt.Errorf("writing %q: %w", r.Reference(at), err))
	}
	return nil
}

// put returns the header of the answer: see [Repository.AttachReferrers].
func (r *Repository) put(ctx context.Context, manifest Manifest, at string) (header http.Header, err error) {
	err = r.client.repeat(ctx, func() error {
		header, err = r.putOnce(ctx, manifest, at)
		return err
	})
	return header, err
}

func (r *Repository) putOnce(ctx context.Context, manifest Manifest, at string) (http.Header, error) {
	answer, err := r.client.once(ctx, call{
		method: http.MethodPut,
		at:     "/v2/" + r.path + "/manifests/" + at,
		header: map[string]string{"Content-Type": string(manifest.MediaType)},
		body:   manifest.Raw,
		scopes: r.scopes("pull,push"),
	})
	switch {
	case err != nil:
		return nil, err
	case transientStatus(answer.StatusCode):
		return nil, failure(answer)
	case answer.StatusCode < 200 || answer.StatusCode > 299:
		return nil, r.notWritten(answer)
	}
	discard(answer)
	if announced := answer.Header.Get("Docker-Content-Digest"); announced != "" && announced != manifest.Digest.String() {
		return nil, fault.New(fault.Wrong, "the registry stored %q, not %q", printable(announced, 80), manifest.Digest)
	}
	return answer.Header, nil
}

func (r *Repository) lookupOnce(ctx context.Context, tagOrDigest string, most int64) (Manifest, bool, error) {
	answer, err := r.client.once(ctx, call{
		method: http.MethodGet,
		at:     "/v2/" + r.path + "/manifests/" + tagOrDigest,
		header: map[string]string{"Accept": acceptedManifests},
		scopes: r.scopes("pull"),
	})
	if err != nil {
		return Manifest{}, false, err
	}
	if answer.StatusCode != http.StatusOK {
		err := failure(answer)
		if fault.KindOf(err) == fault.NotFound {
			return Manifest{}, false, nil
		}
		return Manifest{}, false, r.explain(err)
	}
	defer answer.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(whole(answer), most+1))
	if err != nil {
		return Manifest{}, false, err
	}
	switch {
	case int64(len(raw)) <= most:
	case most == largestManifest:
		return Manifest{}, false, notARegistry("a manifest of more than 8 MiB")
	default:
		return Manifest{}, false, fault.New(fault.Wrong, "the manifest has more than the %d bytes that its index says", most)
	}
	manifest, err := readManifest(raw, answer.Header.Get("Content-Type"))
	if err != nil {
		return Manifest{}, false, err
	}
	announced := answer.Header.Get("Docker-Content-Digest")
	if strings.Contains(tagOrDigest, ":") {
		announced = tagOrDigest
	}
	if announced != "" && announced != manifest.Digest.String() {
		return Manifest{}, false, fault.New(fault.Wrong,
			"the manifest received has the digest %q, not %q", manifest.Digest, printable(announced, 80))
	}
	return manifest, true, nil
}

// scopes returns the scope of a call with these actions. Where the repository is written to anyway, what is for reading
// is good for writing too, so that one token does.
func (r *Repository) scopes(actions string) []scope {
	if r.client.writes && actions == "pull" {
		actions = "pull,push"
	}
	return []scope{{repository: r.path, actions: actions}}
}

// acceptedManifests leaves out Docker's schema 1, which a registry would otherwise convert to, changing the digest.
var acceptedManifests = strings.Join([]string{
	string(types.OCIImageIndex), string(types.OCIManifestSchema1),
	string(types.DockerManifestList), string(types.DockerManifestSchema2),
	"application/vnd.oci.artifact.manifest.v1+json",
}, ", ")

// content is what is read of a manifest of any kind (image specification, "Image Manifest" and "Image Index").
type content struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     types.MediaType   `json:"mediaType"`
	Manifests     descriptors       `json:"manifests"`
	Config        *v1.Descriptor    `json:"config"`
	Layers        descriptors       `json:"layers"`
	Blobs         descriptors       `json:"blobs"` // of the artifact manifest, a draft that some registries still hold
	Annotations   map[string]string `json:"annotations"`
}

// descriptors are a manifest's, but not more than any manifest has: "[{},{},…" takes fifty times its size when it is read.
type descriptors []v1.Descriptor

const mostDescriptors = 10_000

var errTooMany = fmt.Errorf("it lists more than %d", mostDescriptors)

// UnmarshalJSON implements json.Unmarshaler.
func (d *descriptors) UnmarshalJSON(raw []byte) error {
	if raw[0] != '[' {
		return json.Unmarshal(raw, (*[]v1.Descriptor)(d)) // null, or an error
	}
	*d = descriptors{}
	list := json.NewDecoder(bytes.NewReader(raw))
	if _, err := list.Token(); err != nil {
		return err
	}
	for list.More() {
		if len(*d) == mostDescriptors {
			return errTooMany
		}
		var one v1.Descriptor
		if err := list.Decode(&one); err != nil {
			return err
		}
		*d = append(*d, one)
	}
	return nil
}

// readManifest checks that raw is a manifest, and hashes it.
func readManifest(raw []byte, contentType string) (Manifest, error) {
	var read content
	if err := json.Unmarshal(raw, &read); err != nil {
		return Manifest{}, notARegistry("the body is not a manifest")
	}
	if read.SchemaVersion == 1 {
		return Manifest{}, fault.New(fault.Unexpected,
			"reading the manifest: it is of Docker's old schema 1, which has no stable digest: push the image anew")
	}
	kind, _, _ := strings.Cut(contentType, ";")
	mediaType := types.MediaType(strings.TrimSpace(kind))
	if read.MediaType != "" {
		mediaType = read.MediaType // the digest covers this one, not the header
	}
	if read.Config == nil && read.Manifests == nil && read.Blobs == nil || !manifestType(mediaType) {
		return Manifest{}, notARegistry("the body is not a manifest")
	}
	// What one reader takes for an image and another for an index is refused, as the image specification advises (CVE-2021-41190).
	if index := read.Manifests != nil; index && (read.Config != nil || read.Layers != nil || !mediaType.IsIndex()) || !index && mediaType.IsIndex() {
		return Manifest{}, notARegistry("the body is neither an index alone nor a manifest alone")
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	return Manifest{MediaType: mediaType, Digest: digest, Raw: raw}, err
}

func manifestType(mediaType types.MediaType) bool {
	return strings.HasPrefix(string(mediaType), "application/vnd.") && strings.HasSuffix(string(mediaType), "json")
}

func (m Manifest) content() (content, error) {
	var read content
	if err := json.Unmarshal(m.Raw, &read); err != nil {
		return content{}, fault.New(fault.Unexpected, "reading the manifest %q: %w", m.Digest, err)
	}
	return read, nil
}

// Children returns the descriptors of an index's manifests, one for each platform; none for other manifests.
func (m Manifest) Children() []v1.Descriptor {
	read, err := m.content()
	if err != nil {
		return nil
	}
	return read.Manifests
}
