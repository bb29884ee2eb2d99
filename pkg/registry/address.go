package registry

import (
	"net/url"
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// dockerHub is the host of Docker's registry; the others are names that people and configuration files use for it.
const dockerHub = "index.docker.io"

// splitAddress returns the canonical host and the path prefix of HOST[:PORT][/PREFIX].
func splitAddress(address string) (host, prefix string, err error) {
	wrong := func(problem string) error {
		return fault.New(fault.Configuration, "reading address %q: %s", address, problem)
	}
	switch {
	case address == "":
		return "", "", fault.New(fault.Configuration, "the address is missing: HOST[:PORT] is wanted")
	case strings.Contains(address, "://"):
		return "", "", wrong("a scheme does not belong here: HOST[:PORT] is wanted")
	}
	host, prefix, _ = strings.Cut(strings.TrimSuffix(address, "/"), "/")
	parsed, err := url.Parse("https://" + host)
	if err != nil || parsed.Host != host || parsed.Hostname() == "" || strings.HasSuffix(host, ":") {
		return "", "", wrong("HOST[:PORT] is wanted")
	}
	if prefix != "" && !prefixGrammar.MatchString(prefix) {
		return "", "", wrong("the path after the host is not one of lower case names")
	}
	return canonicalHost(host), prefix, nil
}

var prefixGrammar = regexp.MustCompile(`^[a-z0-9]+([._-]+[a-z0-9]+)*(/[a-z0-9]+([._-]+[a-z0-9]+)*)*$`)

func canonicalHost(host string) string {
	host = strings.TrimSuffix(strings.ToLower(host), ":443")
	switch host {
	case "docker.io", "registry-1.docker.io", "registry.hub.docker.com":
		return dockerHub
	}
	return host
}
