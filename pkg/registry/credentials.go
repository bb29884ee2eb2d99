package registry

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"

	"dockline/pkg/fault"
)

// credentials let one in. The zero value is anonymous.
type credentials struct {
	username, password string
	identityToken      string // an OAuth refresh token, exchanged at the token service
	registryToken      string // a bearer token, sent to the registry as it is
	origin             string // where they come from, for error texts
}

func (c credentials) anonymous() bool {
	return c.username == "" && c.password == "" && c.identityToken == "" && c.registryToken == ""
}

// keyring answers which credentials a repository path is accessed with.
type keyring struct {
	explicit credentials
	files    []authFile
}

type authFile struct {
	origin  string
	entries []authEntry
	helper  string // the credential helper that the host is left to, when there is no entry
}

type authEntry struct {
	path        string // below the host; "" is the whole host
	credentials credentials
}

// newKeyring reads what concerns the host of config.Address out of its credentials.
func newKeyring(config Config) (*keyring, error) {
	if config.Username != "" || config.Password != "" {
		if config.Username == "" || config.Password == "" {
			return nil, fault.New(fault.Configuration, "a user name and a password are given together, or neither")
		}
		return &keyring{explicit: credentials{
			username: config.Username, password: config.Password, origin: "the configured user name and password",
		}}, nil
	}
	host, _, err := splitAddress(config.Address)
	if err != nil {
		return nil, err
	}
	ring := &keyring{}
	for _, document := range config.Auth {
		file, err := readAuthFile(document, host)
		if err != nil {
			return nil, err
		}
		if file.helper != "" && len(ring.files) == 0 {
			return nil, fault.New(fault.Configuration, "reading credentials from %s: those for %q are left to the program "+
				"docker-credential-%s, which is not run here: give a user name and a password", file.origin, host, file.helper)
		}
		if len(file.entries) > 0 {
			ring.files = append(ring.files, file)
		}
	}
	return ring, nil
}

// find returns the credentials for a repository path: of the first file that has any, the longest path's.
func (k *keyring) find(repository string) credentials {
	if !k.explicit.anonymous() {
		return k.explicit
	}
	for _, file := range k.files {
		var found *authEntry
		for i, entry := range file.entries {
			if covers(entry.path, repository) && (found == nil || len(entry.path) > len(found.path)) {
				found = &file.entries[i]
			}
		}
		if found != nil {
			return found.credentials
		}
	}
	return credentials{}
}

func covers(path, repository string) bool {
	return path == "" || path == repository || strings.HasPrefix(repository, path+"/")
}

// readAuthFile returns a document's entries for one host. Keys are HOST[:PORT][/PATH] (containers-auth.json(5)), or
// URLs such as docker login writes ("https://index.docker.io/v1/"). Errors never quote the document.
func readAuthFile(document AuthFile, host string) (authFile, error) {
	var content struct {
		Auths       map[string]json.RawMessage `json:"auths"`
		CredHelpers map[string]string          `json:"credHelpers"`
		CredsStore  string                     `json:"credsStore"`
	}
	wrong := func(what string) error {
		return fault.New(fault.Configuration, "reading credentials from %s: %s", document.Origin, what)
	}
	if err := json.Unmarshal(document.JSON, &content); err != nil {
		return authFile{}, wrong("it is not a docker configuration (JSON with \"auths\")")
	}
	file := authFile{origin: document.Origin}
	for key, raw := range content.Auths {
		entryHost, path := splitKey(key)
		if entryHost != host {
			continue
		}
		var auth authn.AuthConfig
		if err := json.Unmarshal(raw, &auth); err != nil {
			return authFile{}, wrong(fmt.Sprintf("the entry %q does not hold base64 of USER:PASSWORD", key))
		}
		found := credentials{
			username: auth.Username, password: auth.Password,
			identityToken: auth.IdentityToken, registryToken: auth.RegistryToken, origin: document.Origin,
		}
		if found.username == "<token>" { // docker's way to say that the password is an identity token
			found = credentials{identityToken: found.password, origin: document.Origin}
		}
		if found.anonymous() { // docker login leaves such a stub when a store keeps the password
			file.helper = content.CredsStore
			continue
		}
		file.entries = append(file.entries, authEntry{path: path, credentials: found})
	}
	if len(file.entries) > 0 {
		file.helper = ""
		return file, nil
	}
	for key, helper := range content.CredHelpers {
		if entryHost, _ := splitKey(key); entryHost == host {
			file.helper = helper
		}
	}
	return file, nil
}

func splitKey(key string) (host, path string) {
	key = strings.TrimPrefix(strings.TrimPrefix(key, "https://"), "http://")
	host, path, _ = strings.Cut(key, "/")
	path = strings.Trim(path, "/")
	if path == "v1" || path == "v2" {
		path = ""
	}
	return canonicalHost(host), path
}
