package clonebuildpush

import (
	"context"
	"net"
	"strings"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// registryAddresses looks up a registry to which a password may go without TLS: PHASE=push must not, because the
// containers of a pod share /etc/hosts, and a RUN can rewrite it.
func (r *runner) registryAddresses(ctx context.Context) (map[string][]string, error) {
	if r.Address == "" || !r.Insecure {
		return nil, nil
	}
	host, err := registryHost(r.Address)
	if err != nil {
		return nil, err
	}
	pinned := newPins()
	if _, err := pinned.addresses(ctx, host); err != nil {
		return nil, fault.At(side, fault.New(fault.Unavailable, "looking up %q: %w", host, err))
	}
	return pinned.known, nil
}

func registryHost(address string) (string, error) {
	opened, err := registry.Open(registry.Config{Address: address, Side: side})
	if err != nil {
		return "", err
	}
	host, _, err := net.SplitHostPort(opened.Host())
	if err != nil {
		host = strings.Trim(opened.Host(), "[]")
	}
	return host, nil
}

// openPinnedTarget opens the repository that is pushed to. Without TLS, which would tell another host from the registry,
// it is reached at the addresses that it had before the build.
func (r *runner) openPinnedTarget(rt *step.Runtime, told checkout) (*registry.Repository, func(), error) {
	access, err := r.Registry.Access(rt, side)
	if err != nil {
		return nil, nil, err
	}
	if r.Insecure {
		host, err := registryHost(r.Address)
		if err != nil {
			return nil, nil, err
		}
		if net.ParseIP(host) == nil && len(told.Addresses[host]) == 0 {
			err := fault.New(fault.Refused, "looking up %q: a RUN may have decided where it leads to, and nothing would notice without TLS", host)
			return nil, nil, fault.WithHint(fault.At(side, err), "give REGISTRY and REGISTRY_INSECURE to PHASE=clone too, which looks it up before")
		}
		access.Dial = pinnedTo(told.Addresses).Dial
	}
	return openTarget(access, r.Image)
}
