package step

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"dockline/pkg/registry"
)

// Registry says how to reach one registry. A step with two sides has two, with the prefixes SOURCE_ and TARGET_.
type Registry struct {
	// Host of the registry, with a port and a path prefix where there are some: registry.example.com:5000/team.
	Address string `env:"REGISTRY"`
	// Account for the registry. It goes before every file of credentials.
	Username string `env:"REGISTRY_USERNAME"`
	// Password or token of that account.
	Password Secret `env:"REGISTRY_PASSWORD"`
	// Docker configuration file (config.json) with credentials for this registry; the longest matching path wins.
	AuthFile string `env:"REGISTRY_AUTH_FILE"`
	// File with the CA certificate (PEM) that signs the registry's certificate.
	CAFile string `env:"REGISTRY_CA_FILE"`
	// File with the client certificate (PEM) that is shown to a registry that asks for one. Needs REGISTRY_KEY.
	CertFile string `env:"REGISTRY_CERT_FILE"`
	// Private key (PEM, not encrypted) of the client certificate.
	Key Secret `env:"REGISTRY_KEY"`
	// Accept plain http, and any certificate.
	Insecure bool `env:"REGISTRY_INSECURE"`
}

// Validate returns all problems of the group; prefix is "", "SOURCE_" or "TARGET_".
func (r Registry) Validate(prefix string) error {
	var problems []error
	if r.Address == "" {
		problems = append(problems, Problem("%sREGISTRY is missing", prefix))
	}
	if strings.Contains(r.Address, "://") || strings.Contains(r.Address, "@") {
		problems = append(problems, Problem("%sREGISTRY is a host, without a scheme or an account", prefix))
	}
	switch {
	case r.Username != "" && r.Password == "":
		problems = append(problems, Problem("%sREGISTRY_PASSWORD is missing: %sREGISTRY_USERNAME is set", prefix, prefix))
	case r.Username == "" && r.Password != "":
		problems = append(problems, Problem("%sREGISTRY_USERNAME is missing: %sREGISTRY_PASSWORD is set", prefix, prefix))
	}
	switch {
	case r.CertFile != "" && r.Key == "":
		problems = append(problems, Problem("%sREGISTRY_KEY is missing: %sREGISTRY_CERT_FILE is set", prefix, prefix))
	case r.CertFile == "" && r.Key != "":
		problems = append(problems, Problem("%sREGISTRY_CERT_FILE is missing: %sREGISTRY_KEY is set", prefix, prefix))
	}
	return errors.Join(problems...)
}

// Access resolves the group to what pkg/registry opens: it reads the CA, the client certificate and the files of
// credentials, and masks what they hold; repetitions are logged. Side names the registry in errors: "registry", "source registry", "target registry".
//
// The order of credentials is: the group's own, its auth file, REGISTRY_AUTH_FILE, DOCKER_AUTH_CONFIG,
// DOCKER_CONFIG/config.json, ~/.docker/config.json, podman's auth.json, CI_REGISTRY_* for that host only, none.
// Proxies are those of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
func (r Registry) Access(rt *Runtime, side string) (registry.Config, error) {
	config := registry.Config{
		Address:  r.Address,
		Username: r.Username,
		Password: r.Password.Reveal(),
		Insecure: r.Insecure,
		Side:     side,
		OnSecret: func(secret string) { rt.Mask(secret) },
		Retrying: rt.Retrying(side),
	}
	if r.Password != "" {
		rt.Mask(r.Username + ":" + r.Password.Reveal()) // as basic authentication encodes it
	}
	var err error
	if r.CAFile != "" {
		if config.CA, err = readSmallFile(r.CAFile); err != nil {
			return config, Problem("%sREGISTRY_CA_FILE: %w", prefixOf(side), err)
		}
	}
	if r.CertFile != "" {
		if config.Certificate, err = readSmallFile(r.CertFile); err != nil {
			return config, Problem("%sREGISTRY_CERT_FILE: %w", prefixOf(side), err)
		}
		config.Key = []byte(r.Key.Reveal())
	}
	if config.Proxy, err = proxies(rt.Getenv); err != nil {
		return config, err
	}
	for _, path := range []string{r.AuthFile, rt.Getenv("REGISTRY_AUTH_FILE")} {
		if path == "" {
			continue
		}
		// A file that is named must be there: going on without it would fall back to another account.
		content, err := rt.readCredentials(path)
		if err != nil {
			return config, Problem("%sREGISTRY_AUTH_FILE: %w", prefixOf(side), err)
		}
		config.Auth = append(config.Auth, registry.AuthFile{Origin: path, JSON: content})
	}
	if document := rt.Getenv("DOCKER_AUTH_CONFIG"); document != "" {
		config.Auth = append(config.Auth, registry.AuthFile{Origin: "DOCKER_AUTH_CONFIG", JSON: []byte(document)})
	}
	for _, path := range usualAuthFiles(rt.Getenv) {
		if content, err := rt.readCredentials(path); err == nil {
			config.Auth = append(config.Auth, registry.AuthFile{Origin: path, JSON: content})
		}
	}
	if document := gitlabAuth(rt.Getenv); document != nil {
		config.Auth = append(config.Auth, registry.AuthFile{Origin: "CI_REGISTRY_USER", JSON: document})
	}
	for _, document := range config.Auth {
		rt.Mask(secretsOf(document.JSON)...)
	}
	return config, nil
}

// Open opens the registry of the group, as Access resolves it. It does not connect.
func (r Registry) Open(rt *Runtime, side string) (*registry.Registry, error) {
	config, err := r.Access(rt, side)
	if err != nil {
		return nil, err
	}
	return registry.Open(config)
}

// Retrying returns the hook that tells of every repetition of a call to that side.
func (rt *Runtime) Retrying(side string) func(registry.Retry) {
	return func(again registry.Retry) { rt.TryingAgain(side, again.Attempt, again.Of, again.Wait, again.Err) }
}

// usualAuthFiles returns where docker and podman keep credentials, in order.
func usualAuthFiles(getenv func(string) string) []string {
	var paths []string
	if dir := getenv("DOCKER_CONFIG"); dir != "" {
		paths = append(paths, filepath.Join(dir, "config.json"))
	}
	if home := getenv("HOME"); home != "" {
		paths = append(paths, filepath.Join(home, ".docker", "config.json"))
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		paths = append(paths, filepath.Join(dir, "containers", "auth.json"))
	}
	for i, path := range paths {
		if _, err := os.Stat(path); err != nil {
			paths[i] = ""
		}
	}
	return trimmed(paths)
}
