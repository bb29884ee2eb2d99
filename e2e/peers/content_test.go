//go:build e2e

package peers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/pkg/registry"
)

const (
	emptyType    = "application/vnd.oci.empty.v1+json"
	foreignLayer = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	imageName    = "deepsky/awl-deepsky-hello"
)

// content puts what there is to copy into a registry: all sorts of manifests.
type content struct {
	t    testing.TB
	host string
	to   *registry.Repository
}

// fill writes the image 1.0, an index of two platforms and an attestation with all that can be attached to it, and the
// artifact 2.0. It returns the repository, and the index.
func fill(t testing.TB, host string) (*registry.Repository, registry.Manifest) {
	t.Helper()
	opened, err := registry.Open(registry.Config{Address: host, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	c := content{t: t, host: host, to: opened.Repository(imageName)}

	amd64 := c.image("amd64", v1.Descriptor{})
	foreign := blobOf(t, foreignLayer, "a layer that may not be given away")
	foreign.URLs = []string{"https://layers.example/base"}
	arm64 := c.image("arm64", foreign)
	attestation := c.manifest(v1.Manifest{
		Config: c.blob("application/vnd.oci.image.config.v1+json", `{"architecture":"unknown","os":"unknown"}`),
		Layers: []v1.Descriptor{c.blob("application/vnd.in-toto+json", `{"_type":"https://in-toto.io/Statement/v0.1"}`)},
	}, "")
	index := c.index("1.0",
		entry(amd64, &v1.Platform{OS: "linux", Architecture: "amd64"}, nil),
		entry(arm64, &v1.Platform{OS: "linux", Architecture: "arm64", Variant: "v8"}, nil),
		entry(attestation, &v1.Platform{OS: "unknown", Architecture: "unknown"}, map[string]string{
			"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": amd64.Digest.String(),
		}))

	bill := c.attach(index, "application/spdx+json", `{"spdxVersion":"SPDX-2.3"}`)
	c.attach(index, "application/vnd.in-toto+json", `{"predicate":"record"}`)
	c.attach(bill, "application/vnd.dev.example.signature", "a signature of the bill")
	c.attach(amd64, "application/vnd.cyclonedx+json", `{"bomFormat":"CycloneDX"}`)
	c.attach(arm64, "application/vnd.cyclonedx+json", `{"bomFormat":"CycloneDX","version":2}`)

	c.cosign(index, ".sig")
	c.cosign(index, ".att")
	c.cosign(amd64, ".sig")
	c.cosign(amd64, ".sbom")

	artifact := c.manifest(v1.Manifest{
		ArtifactType: "application/vnd.example.chart", Config: c.blob(emptyType, "{}"),
		Layers: []v1.Descriptor{c.blob("application/vnd.example.chart.v1", "a chart")},
	}, "2.0")
	c.attach(artifact, "application/vnd.dev.example.signature", "a signature of the chart")

	c.image("s390x", v1.Descriptor{}) // what nothing leads to, and is not copied
	c.manifest(v1.Manifest{Config: c.blob(emptyType, "{}"), Layers: []v1.Descriptor{c.blob("text/plain", "another version")}}, "0.9")
	return c.to, index
}

// image writes a platform's image, with a layer of its own, one that all share, and perhaps one more.
func (c content) image(architecture string, more v1.Descriptor) registry.Manifest {
	layers := []v1.Descriptor{
		c.blob(string(types.OCILayer), "the layer of all platforms"), c.blob(string(types.OCILayer), "the layer of "+architecture),
	}
	if more.Digest.Hex != "" {
		layers = append(layers, more)
	}
	config := fmt.Sprintf(`{"architecture":%q,"os":"linux","rootfs":{"type":"layers","diff_ids":[]}}`, architecture)
	return c.manifest(v1.Manifest{Config: c.blob(string(types.OCIConfigJSON), config), Layers: layers}, "")
}

// about makes an artifact about subject, and writes what it consists of.
func (c content) about(subject registry.Manifest, artifactType, text string) registry.Manifest {
	about := entry(subject, nil, nil)
	return manifestOf(c.t, v1.Manifest{
		ArtifactType: artifactType, Config: c.blob(emptyType, "{}"), Layers: []v1.Descriptor{c.blob(artifactType, text)},
		Subject: &about, Annotations: map[string]string{"org.opencontainers.image.created": "2026-01-01T00:00:00Z", "text": text},
	})
}

// attach writes an artifact about subject.
func (c content) attach(subject registry.Manifest, artifactType, text string) registry.Manifest {
	made := c.about(subject, artifactType, text)
	if err := c.to.PutReferrers(c.t.Context(), subject.Digest, []registry.Manifest{made}); err != nil {
		c.t.Fatal(err)
	}
	return made
}

// cosign writes what cosign writes about subject.
func (c content) cosign(subject registry.Manifest, ending string) {
	c.manifest(v1.Manifest{
		Config: c.blob(string(types.OCIConfigJSON), `{"rootfs":{"type":"layers","diff_ids":[]}}`),
		Layers: []v1.Descriptor{c.blob("application/vnd.dev.cosign.simplesigning.v1+json", ending+" of "+subject.Digest.String())},
	}, registry.FallbackTag(subject.Digest)+ending)
}

func (c content) index(tag string, children ...v1.Descriptor) registry.Manifest {
	index := manifestOf(c.t, v1.IndexManifest{SchemaVersion: 2, MediaType: types.OCIImageIndex, Manifests: children})
	c.put(index, tag)
	return index
}

func (c content) manifest(from v1.Manifest, tag string) registry.Manifest {
	made := manifestOf(c.t, from)
	c.put(made, tag)
	return made
}

func (c content) put(manifest registry.Manifest, tag string) {
	if err := c.to.Put(c.t.Context(), manifest, tag); err != nil {
		c.t.Fatal(err)
	}
}

func manifestOf(t testing.TB, from any) registry.Manifest {
	t.Helper()
	mediaType := types.OCIImageIndex
	if manifest, ok := from.(v1.Manifest); ok {
		mediaType = types.OCIManifestSchema1
		manifest.SchemaVersion, manifest.MediaType = 2, mediaType
		from = manifest
	}
	raw, err := json.Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	digest, _, err := v1.SHA256(bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	return registry.Manifest{MediaType: mediaType, Digest: digest, Raw: raw}
}

func entry(of registry.Manifest, platform *v1.Platform, annotations map[string]string) v1.Descriptor {
	return v1.Descriptor{
		MediaType: of.MediaType, Digest: of.Digest, Size: int64(len(of.Raw)), Platform: platform, Annotations: annotations,
	}
}

func blobOf(t testing.TB, mediaType, text string) v1.Descriptor {
	t.Helper()
	digest, size, err := v1.SHA256(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return v1.Descriptor{MediaType: types.MediaType(mediaType), Digest: digest, Size: size}
}

// blob uploads a blob ("POST then PUT").
func (c content) blob(mediaType, text string) v1.Descriptor {
	blob := blobOf(c.t, mediaType, text)
	started := c.send(http.MethodPost, "http://"+c.host+"/v2/"+imageName+"/blobs/uploads/", "", http.StatusAccepted)
	at, err := started.Request.URL.Parse(started.Header.Get("Location"))
	if err != nil {
		c.t.Fatal(err)
	}
	query := at.Query()
	query.Set("digest", blob.Digest.String())
	at.RawQuery = query.Encode()
	c.send(http.MethodPut, at.String(), text, http.StatusCreated)
	return blob
}

func (c content) send(method, at, body string, want int) *http.Response {
	request, err := http.NewRequestWithContext(c.t.Context(), method, at, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/octet-stream")
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		c.t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != want {
		c.t.Fatalf("%s %s: %s", method, (&url.URL{Path: request.URL.Path}).String(), answer.Status)
	}
	return answer
}
