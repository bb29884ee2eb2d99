package imageapi

import (
	"cmp"
	"context"
	"encoding/base64"
	"slices"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"k8s.io/apimachinery/pkg/util/json"
)

// credentials returns the accounts that a namespace's pull secrets hold for a repository, the one for the longest path
// first. Any secret of the right type counts, whether or not a service account names it, as in an import.
func (s *Server) credentials(ctx context.Context, namespace string, repository name.Repository) []authn.Authenticator {
	found, err := s.around.secrets(ctx, namespace)
	if err != nil {
		s.options.Log("reading the secrets of %s: %v", namespace, err)
	}
	type match struct {
		path    string
		account authn.AuthConfig
	}
	var matches []match
	for _, secret := range found {
		for path, account := range accounts(secret.Object) {
			if covers(path, repository) {
				matches = append(matches, match{path, account})
			}
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int {
		return cmp.Or(cmp.Compare(len(b.path), len(a.path)), cmp.Compare(a.path, b.path))
	})
	var list []authn.Authenticator
	for _, one := range matches {
		list = append(list, authn.FromConfig(one.account))
	}
	return list
}

// accounts reads a secret of type kubernetes.io/dockerconfigjson; any other has none.
func accounts(secret map[string]any) map[string]authn.AuthConfig {
	if text(secret, "type") != "kubernetes.io/dockerconfigjson" {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(text(secret, "data", ".dockerconfigjson"))
	if err != nil {
		return nil
	}
	var file struct {
		Auths map[string]authn.AuthConfig `json:"auths"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		return nil
	}
	return file.Auths
}

// covers says whether an entry of a docker configuration (HOST, HOST/PATH, or a URL of these) is for a repository.
func covers(entry string, repository name.Repository) bool {
	entry = strings.TrimPrefix(strings.TrimPrefix(entry, "https://"), "http://")
	entry = strings.TrimSuffix(entry, "/")
	entry = strings.TrimSuffix(strings.TrimSuffix(entry, "/v1"), "/v2")
	full := repository.RegistryStr() + "/" + repository.RepositoryStr()
	return full == entry || strings.HasPrefix(full, entry+"/")
}
