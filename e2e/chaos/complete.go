package chaos

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Tags returns all tags of all repositories, as NAME:TAG.
func (s *Store) Tags() ([]string, error) {
	var catalog struct {
		Repositories []string `json:"repositories"`
	}
	if err := s.read("/v2/_catalog", &catalog); err != nil {
		return nil, err
	}
	var all []string
	for _, repository := range catalog.Repositories {
		var list struct {
			Tags []string `json:"tags"`
		}
		if err := s.read("/v2/"+repository+"/tags/list", &list); err != nil {
			return nil, err
		}
		for _, tag := range list.Tags {
			all = append(all, repository+":"+tag)
		}
	}
	return all, nil
}

// Digest returns the digest that NAME:TAG holds; "" when the tag is absent.
func (s *Store) Digest(image string) string {
	return s.manifest(image).Header().Get("Docker-Content-Digest")
}

// Children returns the digests that the index lists which NAME:TAG holds, none where it holds none.
func (s *Store) Children(image string) (digests []string) {
	var index v1.IndexManifest
	if json.Unmarshal(s.manifest(image).Body.Bytes(), &index) != nil {
		return nil
	}
	for _, one := range index.Manifests {
		digests = append(digests, one.Digest.String())
	}
	return digests
}

// Complete returns what is missing of the image that NAME:TAG leads to: a platform's manifest, a configuration, a layer.
// A tag that is absent leads to nothing.
func (s *Store) Complete(image string) error {
	if s.Digest(image) == "" {
		return nil
	}
	repository, tag, _ := strings.Cut(image, ":")
	return s.complete(repository, tag)
}

// Recorded tells whether there is a promotion record (by the fallback tag, with all that it leads to) of the image that
// NAME:TAG holds.
func (s *Store) Recorded(image string) error {
	repository, _, _ := strings.Cut(image, ":")
	list := repository + ":" + strings.Replace(s.Digest(image), ":", "-", 1)
	var index v1.IndexManifest
	if err := json.Unmarshal(s.manifest(list).Body.Bytes(), &index); err != nil || len(index.Manifests) == 0 {
		return fmt.Errorf("%s holds an image that has no record: %w", image, err)
	}
	return s.Complete(list)
}

func (s *Store) complete(repository, reference string) error {
	answer := s.Do(http.MethodGet, "/v2/"+repository+"/manifests/"+reference)
	if answer.Code != http.StatusOK {
		return fmt.Errorf("%s: the manifest %s is missing: %d", repository, reference, answer.Code)
	}
	var content struct {
		Manifests []v1.Descriptor `json:"manifests"`
		Config    *v1.Descriptor  `json:"config"`
		Layers    []v1.Descriptor `json:"layers"`
	}
	if err := json.Unmarshal(answer.Body.Bytes(), &content); err != nil {
		return fmt.Errorf("%s: %s is no manifest: %w", repository, reference, err)
	}
	for _, child := range content.Manifests {
		if err := s.complete(repository, child.Digest.String()); err != nil {
			return fmt.Errorf("below %s: %w", reference, err)
		}
	}
	if content.Config != nil {
		content.Layers = append(content.Layers, *content.Config)
	}
	for _, blob := range content.Layers {
		if s.Do(http.MethodHead, "/v2/"+repository+"/blobs/"+blob.Digest.String()).Code != http.StatusOK {
			return fmt.Errorf("%s: %s leads to the blob %s, which is missing", repository, reference, blob.Digest)
		}
	}
	return nil
}

func (s *Store) manifest(image string) *httptest.ResponseRecorder {
	repository, tag, _ := strings.Cut(image, ":")
	return s.Do(http.MethodGet, "/v2/"+repository+"/manifests/"+tag)
}

func (s *Store) read(path string, into any) error {
	answer := s.Do(http.MethodGet, path)
	if answer.Code != http.StatusOK {
		return fmt.Errorf("%s: %d", path, answer.Code)
	}
	return json.Unmarshal(answer.Body.Bytes(), into)
}
