package step

import (
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/http/httpproxy"
)

// proxies returns the proxy for an address, by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, in upper or lower case, as curl and
// Go's own client read them: none for loopback addresses. Their passwords are masked before anything else happens
// ([loader.maskAmbient]).
func proxies(getenv func(string) string) (func(*url.URL) (*url.URL, error), error) {
	either := func(name string) string {
		if value := getenv(name); value != "" {
			return value
		}
		return getenv(strings.ToLower(name))
	}
	config := httpproxy.Config{
		HTTPSProxy: either("HTTPS_PROXY"), HTTPProxy: either("HTTP_PROXY"), NoProxy: either("NO_PROXY"),
	}
	for name, value := range map[string]string{"HTTPS_PROXY": config.HTTPSProxy, "HTTP_PROXY": config.HTTPProxy} {
		if value != "" && !isProxy(value) { // it would be ignored, and what is not to be reached directly might be
			return nil, Problem("%s is no address of a proxy, such as http://proxy.example.com:3128", name)
		}
	}
	return config.ProxyFunc(), nil
}

// Proxies returns the proxy for an address as proxies does, by this run's environment.
func (rt *Runtime) Proxies() (func(*url.URL) (*url.URL, error), error) { return proxies(rt.Getenv) }

// isProxy tells whether httpproxy understands the address, which may leave the scheme out.
func isProxy(address string) bool {
	if !strings.Contains(address, "://") {
		address = "http://" + address
	}
	parsed, err := url.Parse(address)
	return err == nil && parsed.Hostname() != "" && slices.Contains([]string{"http", "https", "socks5", "socks5h"}, parsed.Scheme)
}
