//go:build e2e

package peers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// holdings is what a repository holds, read by plain requests: neither Dockline's client nor regctl's judges here.
type holdings struct {
	Tags      map[string]string   // digest by tag; for a fallback tag, what its index lists
	Manifests map[string]string   // media type by digest: all that tags, indexes and lists of referrers lead to
	Blobs     []string            // digests, of what these manifests name and the registry has
	Lacking   []string            // and has not: foreign layers
	Referrers map[string][]string // digests by subject, as the registry's list or the fallback tag has them
}

type reader struct {
	t          testing.TB
	host, name string
	held       holdings
	blobs      map[string]bool
}

// read walks through the repository from its tags.
func read(t testing.TB, host, name string) holdings {
	t.Helper()
	r := &reader{t: t, host: host, name: name, blobs: map[string]bool{}}
	r.held = holdings{Tags: map[string]string{}, Manifests: map[string]string{}, Referrers: map[string][]string{}}
	var list struct{ Tags []string }
	r.get("tags/list", "application/json", &list)
	for _, tag := range list.Tags {
		body, _, ok := r.manifest(tag)
		if !ok {
			t.Errorf("tag %q is not there", tag)
		}
		if strings.HasPrefix(tag, "sha256-") && !strings.Contains(tag, ".") {
			r.held.Tags[tag] = strings.Join(r.fallback(tag), " ")
			continue
		}
		digest, _, _ := v1.SHA256(bytes.NewReader(body))
		r.held.Tags[tag] = digest.String()
		r.walk(digest.String())
	}
	for digest, there := range r.blobs {
		if there {
			r.held.Blobs = append(r.held.Blobs, digest)
		} else {
			r.held.Lacking = append(r.held.Lacking, digest)
		}
	}
	slices.Sort(r.held.Blobs)
	slices.Sort(r.held.Lacking)
	return r.held
}

func (r *reader) walk(digest string) {
	if r.held.Manifests[digest] != "" {
		return
	}
	body, mediaType, ok := r.manifest(digest)
	if !ok {
		r.t.Errorf("manifest %s is not there", digest)
		return
	}
	if got, _, _ := v1.SHA256(bytes.NewReader(body)); got.String() != digest {
		r.t.Errorf("manifest %s has the digest %s", digest, got)
	}
	r.held.Manifests[digest] = mediaType
	var content struct {
		Config            *v1.Descriptor
		Layers, Manifests []v1.Descriptor
	}
	if err := json.Unmarshal(body, &content); err != nil {
		r.t.Fatal(err)
	}
	if content.Config != nil {
		content.Layers = append(content.Layers, *content.Config)
	}
	for _, blob := range content.Layers {
		answer := r.ask(http.MethodHead, "blobs/"+blob.Digest.String(), "")
		r.blobs[blob.Digest.String()] = answer.StatusCode == http.StatusOK
	}
	for _, child := range content.Manifests {
		r.walk(child.Digest.String())
	}
	var listed struct{ Manifests []v1.Descriptor }
	referrers := r.fallback(strings.Replace(digest, ":", "-", 1))
	if r.get("referrers/"+digest, "application/vnd.oci.image.index.v1+json", &listed) {
		referrers = append(referrers, entries(listed.Manifests)...)
	}
	slices.Sort(referrers)
	for _, one := range slices.Compact(referrers) {
		r.held.Referrers[digest] = append(r.held.Referrers[digest], one)
		r.walk(strings.Fields(one)[0])
	}
}

// fallback returns what a fallback tag's index lists.
func (r *reader) fallback(tag string) []string {
	body, _, ok := r.manifest(tag)
	if !ok {
		return nil
	}
	var index struct{ Manifests []v1.Descriptor }
	if err := json.Unmarshal(body, &index); err != nil {
		r.t.Fatal(err)
	}
	return entries(index.Manifests)
}

// entries are digests with what lists tell of them.
func entries(list []v1.Descriptor) []string {
	var all []string
	for _, one := range list {
		all = append(all, fmt.Sprintf("%s %s %s %d %v", one.Digest, one.MediaType, one.ArtifactType, one.Size, one.Annotations))
	}
	slices.Sort(all)
	return all
}

func (r *reader) manifest(at string) (body []byte, mediaType string, ok bool) {
	answer := r.ask(http.MethodGet, "manifests/"+at, strings.Join([]string{
		"application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.manifest.v1+json",
		"application/vnd.docker.distribution.manifest.list.v2+json", "application/vnd.docker.distribution.manifest.v2+json",
	}, ", "))
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return body, answer.Header.Get("Content-Type"), answer.StatusCode == http.StatusOK
}

func (r *reader) get(at, accept string, into any) bool {
	answer := r.ask(http.MethodGet, at, accept)
	if answer.StatusCode != http.StatusOK {
		return false
	}
	if err := json.NewDecoder(answer.Body).Decode(into); err != nil {
		r.t.Fatal(err)
	}
	return true
}

func (r *reader) ask(method, at, accept string) *http.Response {
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.host+"/v2/"+r.name+"/"+at, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Accept", accept)
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = answer.Body.Close() })
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusNotFound {
		r.t.Fatalf("%s %s: %s", method, request.URL, answer.Status)
	}
	return answer
}
