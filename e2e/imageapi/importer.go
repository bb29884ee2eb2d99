package imageapi

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// importTimeout bounds one import, so that a registry that hangs fails it.
const importTimeout = 30 * time.Second

// importer reads images from registries.
type importer struct {
	secure, insecure *http.Transport
}

// found is what an import brought: the image that a tag then points at.
type found struct {
	digest string
	image  map[string]any   // its Image
	others []map[string]any // the Images of an index's children
}

func newImporter(ca []byte) *importer {
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	pool.AppendCertsFromPEM(ca)
	secure := http.DefaultTransport.(*http.Transport).Clone()
	secure.TLSClientConfig = &tls.Config{RootCAs: pool}
	insecure := secure.Clone()
	insecure.TLSClientConfig = &tls.Config{InsecureSkipVerify: true} //nolint:gosec // what "insecure" asks for
	return &importer{secure: secure, insecure: insecure}
}

// read imports a reference. An index is kept when preserve is set, else its child for linux/amd64 is taken, or the
// first one. The errors are the API errors that a cluster reports, in its words.
func (i *importer) read(ctx context.Context, reference string, insecure, preserve bool,
	credentials func(name.Repository) []authn.Authenticator,
) (*found, error) {
	ctx, cancel := context.WithTimeout(ctx, importTimeout)
	defer cancel()

	ref, err := name.ParseReference(reference)
	if err != nil {
		return nil, apierrors.NewInternalError(fmt.Errorf("%s: invalid reference format", reference))
	}
	puller, ref, err := i.open(ctx, ref, insecure, credentials(ref.Context()))
	if err != nil {
		return nil, importError(reference, err)
	}
	brought, err := puller.read(ctx, ref, preserve)
	if err != nil {
		return nil, importError(reference, err)
	}
	return brought, nil
}

// importError turns a registry's error into the API error that a cluster reports.
func importError(reference string, err error) error {
	exact := reference
	if ref, parseErr := name.ParseReference(reference); parseErr == nil {
		if tag, ok := ref.(name.Tag); ok && !strings.HasSuffix(reference, ":"+tag.TagStr()) {
			exact += ":" + tag.TagStr()
		}
	}
	var answer *transport.Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusNotFound:
			return apierrors.NewNotFound(schema.GroupResource{Group: imageGroup, Resource: "dockerimage"}, exact)
		case http.StatusUnauthorized, http.StatusForbidden:
			return apierrors.NewUnauthorized(fmt.Sprintf("you may not have access to the container image %q", exact))
		case http.StatusTooManyRequests:
			return apierrors.NewTooManyRequests(fmt.Sprintf("too many requests to the registry of %q", exact), 0)
		}
	}
	return apierrors.NewInternalError(fmt.Errorf("%s: %w", exact, err))
}

// open finds out how the registry speaks, and which of the credentials it accepts for the repository.
func (i *importer) open(ctx context.Context, ref name.Reference, insecure bool, credentials []authn.Authenticator,
) (*puller, name.Reference, error) {
	over, scheme := i.secure, "https"
	err := ping(ctx, over, scheme, ref)
	if insecure {
		over = i.insecure
		if err = ping(ctx, over, scheme, ref); err != nil {
			scheme = "http"
			err = ping(ctx, over, scheme, ref)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	if scheme == "http" {
		if ref, err = name.ParseReference(ref.String(), name.Insecure); err != nil {
			return nil, nil, err
		}
	}
	for _, account := range append(credentials, authn.Anonymous) {
		options := []remote.Option{
			remote.WithContext(ctx), remote.WithTransport(over), remote.WithAuth(account),
			remote.WithRetryBackoff(remote.Backoff{Duration: 100 * time.Millisecond, Factor: 2, Steps: 2}),
			remote.WithUserAgent("imageapi"),
		}
		var top *remote.Descriptor
		if top, err = remote.Get(ref, options...); err == nil {
			return &puller{options: options, top: top}, ref, nil
		}
		var answer *transport.Error
		if !errors.As(err, &answer) || (answer.StatusCode != http.StatusUnauthorized && answer.StatusCode != http.StatusForbidden) {
			break
		}
	}
	return nil, nil, err
}

// ping asks whether a registry answers at all. Its error is the one that people read in the import's condition.
func ping(ctx context.Context, over *http.Transport, scheme string, ref name.Reference) error {
	url := scheme + "://" + ref.Context().RegistryStr() + "/v2/"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := (&http.Client{Transport: over}).Do(request)
	if err != nil {
		return err
	}
	return response.Body.Close()
}

// puller reads from a repository that has let it in.
type puller struct {
	options []remote.Option
	top     *remote.Descriptor
}

func (p *puller) read(ctx context.Context, ref name.Reference, preserve bool) (*found, error) {
	if !p.top.MediaType.IsIndex() {
		return p.readImage(ref.Context().Digest(p.top.Digest.String()))
	}
	var index v1.IndexManifest
	if err := json.Unmarshal(p.top.Manifest, &index); err != nil {
		return nil, err
	}
	children := imagesOf(index)
	if len(children) == 0 {
		return nil, fmt.Errorf("the index %s has no image", p.top.Digest)
	}
	if !preserve {
		return p.readImage(ref.Context().Digest(ownPlatform(children).digest))
	}
	reference := ref.Context().Name() + "@" + p.top.Digest.String()
	brought := &found{
		digest: p.top.Digest.String(),
		image:  describeIndex(reference, p.top.Digest.String(), string(p.top.MediaType), children),
	}
	for _, one := range children {
		image, err := p.readImage(ref.Context().Digest(one.digest))
		if err != nil {
			return nil, err
		}
		brought.others = append(brought.others, image.image)
	}
	return brought, nil
}

func (p *puller) readImage(ref name.Digest) (*found, error) {
	descriptor, err := remote.Get(ref, p.options...)
	if err != nil {
		return nil, err
	}
	image, err := descriptor.Image()
	if err != nil {
		return nil, err
	}
	config, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	digest := descriptor.Digest.String()
	described, err := describeImage(ref.String(), digest, string(descriptor.MediaType), descriptor.Manifest, config)
	return &found{digest: digest, image: described}, err
}

// imagesOf leaves out of an index what is no image, such as attestations.
func imagesOf(index v1.IndexManifest) []child {
	var children []child
	for _, one := range index.Manifests {
		if !one.MediaType.IsImage() {
			continue
		}
		found := child{digest: one.Digest.String(), mediaType: string(one.MediaType), size: one.Size}
		if one.Platform != nil {
			found.architecture, found.os = one.Platform.Architecture, one.Platform.OS
		}
		if found.architecture != "unknown" {
			children = append(children, found)
		}
	}
	return children
}

// ownPlatform chooses the image for the platform that the cluster runs on, else the first.
func ownPlatform(children []child) child {
	for _, one := range children {
		if one.os == "linux" && one.architecture == "amd64" {
			return one
		}
	}
	return children[0]
}
