package promote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// platform is the image of one platform.
type platform struct {
	name   string // "linux/amd64", else the digest
	labels map[string]string
}

const (
	// deepestIndex is deeper than any index of indexes that a build makes, and mostPlatforms is more manifests than one
	// leads to: an image of all platforms that Go knows has some fifty.
	deepestIndex, mostPlatforms = 4, 1000
	// parallelPlatforms is how many are read at a time, of one image. Each may have 16 MiB, if it is hostile.
	parallelPlatforms = 8
	// longestName is more than the longest name of a platform, with its variant and version.
	longestName = 100
)

// judgePlatforms judges the image of each platform, each once however often it is listed, and returns the judgements in
// the order of the list. What builders list beside the platforms ("unknown/unknown": attestations) is none.
func judgePlatforms(
	ctx context.Context, in *registry.Repository, root registry.Manifest, judge func(platform) []error,
) (platforms int, problems []error, err error) {
	w := &platformWalk{in: in, judge: judge, seen: map[v1.Hash]bool{root.Digest: true}}
	level := []listed{{Descriptor: v1.Descriptor{Digest: root.Digest}, manifest: &root}}
	for depth := 0; len(level) > 0; depth++ {
		if depth > deepestIndex || len(w.seen) > mostPlatforms {
			return 0, nil, fault.WithHint(fault.At(in.Side(), fault.New(fault.Refused,
				"reading index %q: it is deeper than %d, or of more than %d manifests", root.Digest, deepestIndex, mostPlatforms)),
				"no build makes such an image: find out who wrote it, and how")
		}
		if level, err = w.read(ctx, level); err != nil {
			return 0, nil, err
		}
	}
	return w.platforms, w.problems, nil
}

// listed is a manifest as an index lists it; the root is there already.
type listed struct {
	v1.Descriptor
	manifest *registry.Manifest
}

type platformWalk struct {
	in        *registry.Repository
	judge     func(platform) []error
	seen      map[v1.Hash]bool
	platforms int
	problems  []error
}

// read reads a level, judges the platforms in it, and returns the next level.
func (w *platformWalk) read(ctx context.Context, level []listed) (next []listed, err error) {
	found := make([]struct {
		judged   bool
		problems []error
		children []listed
	}, len(level))
	var seen sync.Mutex
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelPlatforms)
	for i, one := range level {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			manifest := one.manifest
			if manifest == nil {
				read, err := w.in.Manifest(groupContext, one.Digest)
				if err != nil {
					return err
				}
				manifest = &read
			}
			children := manifest.Children()
			if children == nil {
				facts, err := w.in.Inspect(groupContext, *manifest)
				if err != nil {
					return err
				}
				found[i].judged, found[i].problems = true, w.judge(platform{nameOf(one, facts), facts.Labels})
				return nil
			}
			seen.Lock()
			defer seen.Unlock()
			for _, child := range children {
				if child.Platform != nil && child.Platform.OS == "unknown" || w.seen[child.Digest] {
					continue
				}
				w.seen[child.Digest] = true
				found[i].children = append(found[i].children, listed{Descriptor: v1.Descriptor{Digest: child.Digest, Platform: child.Platform}})
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, one := range found {
		if one.judged {
			w.platforms++
		}
		w.problems = append(w.problems, one.problems...)
		next = append(next, one.children...)
	}
	return next, nil
}

// nameOf returns what the platform is called by who lists it, else by its image.
func nameOf(one listed, facts registry.Facts) string {
	name := ""
	if one.Platform != nil {
		name = one.Platform.String()
	}
	return cmp.Or(oneLine(cmp.Or(name, strings.Join(facts.Platforms, ", ")), longestName), one.Digest.String())
}

// some makes one error of the first few of many.
func some(problems []error) error {
	if more := len(problems) - mostProblems; more > 0 {
		problems = append(problems[:mostProblems:mostProblems], fmt.Errorf("and %d more problems", more))
	}
	return errors.Join(problems...)
}
