package clonebuildpush

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/google/go-containerregistry/pkg/name"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// mirrorAttempts is how often a mirror is asked that does not answer: there is the registry itself to ask.
const mirrorAttempts = 2

// longestLookup bounds the looking up of hosts that need not be asked: one that is cut off from the internet may have a
// resolver that does not answer.
const longestLookup = 5 * time.Second

// mirrors are where else base images may be had. The zero value is nowhere.
type mirrors struct {
	// of are the addresses (HOST[:PORT][/PATH]) that hold what a registry holds, in the order in which they are asked, by that
	// registry's canonical host.
	of     map[string][]string
	onAway func(address string, err error) // told of one that does not answer
}

// parseMirrors reads HOST=ADDRESS, separated by commas or white space.
func parseMirrors(text string) (map[string][]string, error) {
	found := map[string][]string{}
	for _, pair := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) }) {
		host, address, ok := strings.Cut(pair, "=")
		if strings.Contains(pair, "@") || !ok {
			return nil, step.Problem("a list of HOST=ADDRESS is wanted, without credentials")
		}
		origin, err := registry.Open(registry.Config{Address: host})
		if err != nil {
			return nil, err
		}
		if origin.Address() != origin.Host() {
			return nil, step.Problem("%q has a path: all of a registry is mirrored", host)
		}
		mirror, err := registry.Open(registry.Config{Address: address})
		if err != nil {
			return nil, err
		}
		if mirror.Address() == origin.Address() {
			return nil, step.Problem("%q is its own mirror", host)
		}
		if slices.Contains(found[origin.Host()], mirror.Address()) {
			return nil, step.Problem("%q is named twice for %q", address, host)
		}
		found[origin.Host()] = append(found[origin.Host()], mirror.Address())
	}
	return found, nil
}

// mirrors are those of REGISTRY_MIRRORS.
func (r *runner) mirrors(rt *step.Runtime) (mirrors, error) {
	of, err := parseMirrors(r.RegistryMirrors)
	if err != nil {
		return mirrors{}, step.Problem("REGISTRY_MIRRORS: %w", err)
	}
	return mirrors{of: of, onAway: func(address string, err error) {
		rt.Log.Warn().Err(err).Str("mirror", address).Msg("a mirror of REGISTRY_MIRRORS is away: it is not asked again")
	}}, nil
}

// ask asks for something of a repository: its mirrors, and where they do not have it or are away, the registry that is
// named. What has a digest is checked against it, whoever gives it. The cache is its own registry's alone.
func ask[T any](
	ctx context.Context, p *puller, wanted name.Repository, what func(from *registry.Repository) (T, error),
) (answer T, err error) {
	origin, err := p.open(endpoint{address: wanted.RegistryStr()})
	if err != nil {
		return answer, err
	}
	for _, address := range p.mirrorsOf(origin, wanted) {
		mirror, err := p.open(endpoint{address, true})
		if err != nil {
			return answer, err
		}
		found, err := what(mirror.Repository(wanted.RepositoryStr()))
		switch kind := fault.KindOf(err); {
		case err == nil:
			return found, nil
		case ctx.Err() != nil:
			return answer, err
		case kind == fault.NotFound:
		case kind == fault.Unavailable:
			p.leave(address, err)
		default:
			return answer, fmt.Errorf("asking a mirror of %q (REGISTRY_MIRRORS): %w", origin.Host(), err)
		}
	}
	return what(origin.Repository(wanted.RepositoryStr()))
}

// mirrorsOf are those that are to be asked.
func (p *puller) mirrorsOf(origin *registry.Registry, wanted name.Repository) []string {
	if wanted.Name() == p.cache {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.mirrors.of[origin.Host()]), func(address string) bool { return p.away[address] })
}

// leave asks a mirror nothing more that does not answer.
func (p *puller) leave(address string, err error) {
	p.mu.Lock()
	known := p.away[address]
	p.away[address] = true
	p.mu.Unlock()
	if !known {
		p.mirrors.onAway(address, err)
	}
}

// lookUp looks up a registry and its mirrors before the build, whichever of them has answered: any of them may be asked
// while a RUN can have rewritten where their names lead. What is not found now, such as a host that only a proxy knows, is
// looked up when it is asked, as ever.
func (p *puller) lookUp(ctx context.Context, pinned *pins, origin *registry.Registry) {
	ctx, cancel := context.WithTimeout(ctx, longestLookup)
	defer cancel()
	for _, address := range append(slices.Clone(p.mirrors.of[origin.Host()]), origin.Host()) {
		host, _, _ := strings.Cut(address, "/")
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		_, _ = pinned.addresses(ctx, host)
	}
}
