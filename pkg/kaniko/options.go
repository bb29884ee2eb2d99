package kaniko

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/osscontainertools/kaniko/pkg/config"
)

// options sets what Kaniko's own command line would, of what fetching images needs (cmd/executor/cmd/root.go in v1.27.5):
// its packages' zero values are not usable.
func options(told order) (*config.KanikoOptions, error) {
	options := &config.KanikoOptions{CustomPlatform: told.Platform}
	if options.CustomPlatform == "" {
		options.CustomPlatform = platforms.Format(platforms.Normalize(platforms.DefaultSpec()))
	}
	if _, err := v1.ParsePlatform(options.CustomPlatform); err != nil {
		return nil, fmt.Errorf("reading the platform %q: %w", options.CustomPlatform, err)
	}
	if err := throughParent(told.Proxy, told.Hosts); err != nil {
		return nil, err
	}
	options.InsecurePull = true              // to the parent it is http, on loopback; the parent speaks https
	options.CredentialHelpers = []string{""} // none
	return options, nil
}

// throughParent has Kaniko ask the registries through the parent. What ADD downloads goes its usual way. The password
// of the proxy is in this process's memory alone, which a RUN cannot read, and in no address that is logged.
func throughParent(proxy string, hosts []string) error {
	parent, err := url.Parse(proxy)
	if err != nil {
		return fmt.Errorf("reading the parent's address: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // net/http says so
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if slices.Contains(hosts, r.URL.Host) && strings.HasPrefix(r.URL.Path, "/v2/") {
			return parent, nil
		}
		return http.ProxyFromEnvironment(r)
	}
	http.DefaultTransport = transport // Kaniko clones it for every registry
	return nil
}
