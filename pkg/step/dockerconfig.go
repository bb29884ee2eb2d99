package step

import (
	"encoding/base64"
	"encoding/json"
	"strings"
)

// dockerConfig is as much of a docker configuration file as tells its secrets.
type dockerConfig struct {
	Auths map[string]dockerAuth `json:"auths"`
}

type dockerAuth struct {
	Username      string `json:"username,omitempty"`
	Password      string `json:"password,omitempty"` //nolint:gosec // the file's own name for it
	Auth          string `json:"auth,omitempty"`
	IdentityToken string `json:"identitytoken,omitempty"`
	RegistryToken string `json:"registrytoken,omitempty"`
}

// secretsOf returns every secret in a docker configuration file, for masking. A file that is not one has none.
func secretsOf(document []byte) []string {
	var config dockerConfig
	if json.Unmarshal(document, &config) != nil {
		return nil
	}
	var secrets []string
	for _, auth := range config.Auths {
		secrets = append(secrets, auth.Password, auth.Auth, auth.IdentityToken, auth.RegistryToken)
		if decoded, err := base64.StdEncoding.DecodeString(auth.Auth); err == nil {
			_, password, _ := strings.Cut(strings.TrimRight(string(decoded), "\x00"), ":")
			secrets = append(secrets, string(decoded), password)
		}
	}
	return secrets
}

// gitlabAuth returns GitLab's own credentials as a docker configuration document for GitLab's registry alone.
func gitlabAuth(getenv func(string) string) []byte {
	host, user, password := getenv("CI_REGISTRY"), getenv("CI_REGISTRY_USER"), getenv("CI_REGISTRY_PASSWORD")
	if host == "" || user == "" || password == "" {
		return nil
	}
	document, _ := json.Marshal(dockerConfig{Auths: map[string]dockerAuth{host: {Username: user, Password: password}}})
	return document
}
