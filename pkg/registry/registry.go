// Package registry gives access to one registry of the OCI distribution specification, and copies images into it: from
// another registry, or from an image made here.
//
// It speaks the protocol itself rather than through go-containerregistry's remote package, whose data types it shares.
// That one speaks plain http to private addresses unasked, refuses token services on private addresses, does not tell
// a registry's 404 from a web site's, and starts a layer anew when its connection is lost: all of them wrong for
// registries inside a company.
//
// The package never logs. Every error names the side it arose on ([Config].Side) and has a kind of package fault.
package registry

import (
	"context"
	"net"
	"net/url"
	"strings"

	"dockline/pkg/fault"
)

// Config says where a registry is and how to be let in. The zero value of all but Address is usable.
type Config struct {
	// Address is host[:port][/prefix], without a scheme; "host:443" is the same as "host".
	Address string
	// Username and Password are this side's own credentials, used before Auth.
	Username, Password string
	// Auth holds docker configuration documents in order of precedence; in one, the longest matching path wins.
	Auth []AuthFile
	// CA holds certificates (PEM) that are trusted beside the system's.
	CA []byte
	// Certificate and Key (PEM) are shown to the registry's own host, port included, where that asks for a client
	// certificate: not to a store of blobs or a token service elsewhere. The key is not encrypted.
	Certificate, Key []byte
	// Insecure accepts any certificate, and plain http where https is not spoken.
	Insecure bool
	// Writes says that repositories will be written to, so that the first token that is asked for is good for that too.
	Writes bool
	// Ahead is how many connections are opened beside the first one, before there are calls for them.
	Ahead int
	// Side names the registry in errors: "source registry". The default is "registry".
	Side string
	// UserAgent is sent with every request. The default is "dockline".
	UserAgent string
	// Patience says how long and how often to try. The zero value is [DefaultPatience].
	Patience Patience
	// Retrying, when set, is told of every repetition, from whichever goroutine repeats.
	Retrying func(Retry)
	// OnSecret, when set, is told of every token that a token service gives, before the token is used: a registry may
	// repeat it in its answers. It is called from several goroutines.
	OnSecret func(string)
	// Proxy returns the proxy to reach an address through, nil for none. The default has no proxies.
	Proxy func(*url.URL) (*url.URL, error)
	// Dial replaces the way to connect, where addresses must not be looked up anew. The default is net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
}

// AuthFile is a docker configuration document ("config.json"), and where it comes from, for error texts.
type AuthFile struct {
	Origin string
	JSON   []byte
}

// Registry is one registry with the credentials of one side. It is safe for concurrent use.
type Registry struct {
	host   string // canonical: lower case, without :443
	prefix string // "" or "a/b"
	client *client
	merges turns // at fallback tags
}

// Open checks the configuration; it does not connect. Its errors are of kind fault.Configuration.
func Open(config Config) (*Registry, error) {
	if config.Side == "" {
		config.Side = "registry"
	}
	host, prefix, err := splitAddress(config.Address)
	if err != nil {
		return nil, fault.At(config.Side, err)
	}
	transports, err := newTransports(config, host)
	if err != nil {
		return nil, fault.At(config.Side, err)
	}
	credentials, err := newKeyring(config)
	if err != nil {
		return nil, fault.At(config.Side, err)
	}
	if config.UserAgent == "" {
		config.UserAgent = "dockline"
	}
	opened := &Registry{host: host, prefix: prefix, client: &client{
		host:       host,
		side:       config.Side,
		agent:      config.UserAgent,
		writes:     config.Writes,
		patience:   config.Patience.orDefault(),
		retrying:   config.Retrying,
		onSecret:   config.OnSecret,
		transports: transports,
		auth:       &authority{keyring: credentials, host: host},
		throttle:   newThrottle(),
	}}
	if !config.Insecure {
		opened.client.spoken.Store(int32(secure))
	}
	return opened, nil
}

// Host returns the registry's canonical host[:port], without the prefix.
func (r *Registry) Host() string { return r.host }

// Address returns the registry's canonical host[:port][/prefix].
func (r *Registry) Address() string { return join(r.host, r.prefix) }

// Side returns the name of this registry in errors.
func (r *Registry) Side() string { return r.client.side }

// Repository returns the repository of an image name, such as "deepsky/awl-deepsky-hello", below the prefix.
func (r *Registry) Repository(name string) *Repository {
	return &Repository{registry: r, path: join(r.prefix, name), client: r.client}
}

// Close drops idle connections. The registry remains usable.
func (r *Registry) Close() { r.client.transports.close() }

// Repository is one repository of a registry. It is safe for concurrent use.
type Repository struct {
	registry *Registry
	path     string // prefix included
	client   *client
}

// Beside returns another repository of the same registry, by its image name.
func (r *Repository) Beside(name string) *Repository { return r.registry.Repository(name) }

// String returns HOST/PATH.
func (r *Repository) String() string { return join(r.registry.host, r.path) }

// Reference returns HOST/PATH:TAG, or HOST/PATH@DIGEST.
func (r *Repository) Reference(tagOrDigest string) string {
	if strings.Contains(tagOrDigest, ":") {
		return r.String() + "@" + tagOrDigest
	}
	return r.String() + ":" + tagOrDigest
}

// Side returns the name of its registry in errors.
func (r *Repository) Side() string { return r.client.side }

// Same tells whether other is this very repository of this very host, whatever the credentials.
func (r *Repository) Same(other *Repository) bool {
	return r.registry.host == other.registry.host && r.path == other.path
}

func join(a, b string) string {
	if a == "" || b == "" {
		return a + b
	}
	return a + "/" + b
}
