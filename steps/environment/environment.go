// Package environment is what retag and verify share: a namespace on a cluster, the stream tag that it follows, and
// the registry that its images come from.
package environment

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/pkg/workload"
)

// Environment is a namespace and the stream tag in it, or the workloads that are named.
type Environment struct {
	Name      imagestream.Name // the zero value with Named
	Named     []workload.Named
	Streams   *imagestream.Client
	Workloads *workload.Client
	API       *cluster.Cluster
}

// Open reads the cluster's settings; it does not connect yet. The zero patience is cluster.DefaultPatience.
func Open(rt *step.Runtime, access step.Cluster, patience cluster.Patience, settings Settings) (*Environment, error) {
	var (
		name  imagestream.Name
		named []workload.Named
		err   error
	)
	if settings.Workloads != "" {
		named, err = workload.ParseNamed(settings.Workloads)
	} else {
		name, err = imagestream.ParseName(settings.StreamTag)
	}
	if err != nil {
		return nil, err
	}
	config := cluster.Config{
		Kubeconfig: access.Kubeconfig, Server: access.Server, Token: access.Token.Reveal(),
		Patience: patience,
		Warn:     func(text string) { rt.Log.Warn().Msg(text) },
		Secret:   rt.Mask,
		Retrying: func(again cluster.Retry) {
			rt.TryingAgain(cluster.Side, again.Attempt, again.Of, again.Wait, again.Err)
		},
	}
	if access.CAFile != "" {
		if config.CA, err = os.ReadFile(access.CAFile); err != nil {
			return nil, step.Problem("KUBE_CA_FILE: %w", err)
		}
	}
	c, err := cluster.Connect(config)
	if err != nil {
		return nil, err
	}
	return &Environment{
		Name: name, Named: named, Streams: imagestream.In(c, settings.Namespace), Workloads: workload.In(c, settings.Namespace),
		API: c,
	}, nil
}

// Same tells whether two digests mean one image: they are equal, or got is one of the images of the index wanted, which
// are asked for only where that is needed. That they cannot be told is an error, and never "another image".
func Same(wanted, got string, children func() ([]string, error)) (bool, error) {
	if wanted == got || got == "" {
		return wanted == got, nil
	}
	known, err := children()
	if err != nil {
		return false, fmt.Errorf("looking for %s in %s: %w", Short(got), Short(wanted), err)
	}
	return slices.Contains(known, got), nil
}

// ChildrenOf returns the digests of an index's images, none for an image.
func ChildrenOf(manifest registry.Manifest) []string {
	if !manifest.MediaType.IsIndex() {
		return nil
	}
	var digests []string
	index, err := v1.ParseIndexManifest(bytes.NewReader(manifest.Raw))
	if err != nil {
		return nil
	}
	for _, child := range index.Manifests {
		digests = append(digests, child.Digest.String())
	}
	return digests
}

// WithTimeout bounds ctx; ended turns an error into one of kind fault.TimedOut when it was the bound that ended ctx.
func WithTimeout(parent context.Context, limit time.Duration) (
	ctx context.Context, cancel context.CancelFunc, ended func(error) error,
) {
	reached := fault.New(fault.TimedOut, "TIMEOUT=%s is over", limit)
	ctx, cancel = context.WithTimeoutCause(parent, limit, reached)
	return ctx, cancel, func(err error) error {
		if err == nil || parent.Err() != nil || !errors.Is(context.Cause(ctx), reached) {
			return err
		}
		if errors.Is(err, reached) {
			return err
		}
		return fault.New(fault.TimedOut, "%w: %w", reached, err)
	}
}

// Short returns a digest as people compare it: "sha256:0123456789ab".
func Short(digest string) string {
	if len(digest) <= len("sha256:")+12 {
		return digest
	}
	return digest[:len("sha256:")+12]
}

// OrNothing returns the digest, or words for its absence.
func OrNothing(digest string) string {
	if digest == "" {
		return "no image"
	}
	return digest
}

// Common returns what all of the texts are; "" when they differ, or there is none.
func Common(all []string) string {
	if len(all) == 0 || slices.ContainsFunc(all, func(one string) bool { return one != all[0] }) {
		return ""
	}
	return all[0]
}

// Age says how long ago t was, as people say it.
func Age(t time.Time, now time.Time) string {
	age := now.Sub(t)
	switch {
	case t.IsZero():
		return "unknown"
	case age < 2*time.Minute:
		return plural(age/time.Second, "second")
	case age < 2*time.Hour:
		return plural(age/time.Minute, "minute")
	case age < 48*time.Hour:
		return plural(age/time.Hour, "hour")
	default:
		return plural(age/(24*time.Hour), "day")
	}
}

func plural(n time.Duration, unit string) string {
	if n == 1 {
		return "1 " + unit + " ago"
	}
	return fmt.Sprintf("%d %ss ago", max(n, 0), unit)
}
