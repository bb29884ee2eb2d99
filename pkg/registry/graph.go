package registry

import (
	"context"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

const (
	// deepestIndex and mostManifests bound what a hostile index can have us fetch, and mostManifestBytes what of it is
	// held in memory: an index of a hundred platforms has some 100 KiB in all.
	deepestIndex, mostManifests, mostManifestBytes = 8, 1000, 32 << 20
	// parallelManifests is how many are read at a time.
	parallelManifests = 16
)

// graph is all that a manifest leads to.
type graph struct {
	from      Source
	seen      map[v1.Hash]bool
	bytes     int64 // of the manifests, as far as they are known
	manifests map[v1.Hash]*node
	root      v1.Hash
	blobs     []v1.Descriptor
}

type node struct {
	manifest Manifest
	children []v1.Descriptor
	height   int // above the deepest child; 0 is not known yet
}

// walk reads all manifests below root, those of one depth at the same time.
func walk(ctx context.Context, from Source, root Manifest) (*graph, error) {
	g := &graph{from: from, root: root.Digest, seen: map[v1.Hash]bool{root.Digest: true}, manifests: map[v1.Hash]*node{}}
	if g.bytes = int64(len(root.Raw)); g.bytes > mostManifestBytes {
		return nil, g.tooLarge()
	}
	level, err := g.take(root)
	for depth := 1; err == nil && len(level) > 0; depth++ {
		if depth > deepestIndex || len(g.manifests)+len(level) > mostManifests {
			return nil, g.tooMuch("it is deeper than %d or of more than %d manifests", deepestIndex, mostManifests)
		}
		level, err = g.read(ctx, level)
	}
	return g, err
}

// read reads manifests, and returns their children that are new. What they declare to have must have room.
func (g *graph) read(ctx context.Context, level []v1.Descriptor) ([]v1.Descriptor, error) {
	for _, one := range level {
		if g.bytes += declared(one); g.bytes > mostManifestBytes {
			return nil, g.tooLarge()
		}
	}
	manifests := make([]Manifest, len(level))
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelManifests)
	for i, one := range level {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			if repository, ok := g.from.(*Repository); ok {
				manifests[i], err = repository.resolve(groupContext, one.Digest.String(), declared(one))
			} else {
				manifests[i], err = g.from.Manifest(groupContext, one.Digest)
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("reading index %q: %w", g.root, err)
	}
	var next []v1.Descriptor
	for _, manifest := range manifests {
		below, err := g.take(manifest)
		if err != nil {
			return nil, err
		}
		next = append(next, below...)
	}
	return next, nil
}

// declared returns the most bytes that a manifest may have by its descriptor, which an index of our own need not fill in.
func declared(one v1.Descriptor) int64 {
	if one.Size <= 0 || one.Size > largestManifest {
		return largestManifest
	}
	return one.Size
}

// take notes what a manifest refers to, and returns those of its children that are new.
func (g *graph) take(manifest Manifest) (below []v1.Descriptor, err error) {
	content, err := manifest.content()
	if err != nil {
		return nil, err
	}
	g.manifests[manifest.Digest] = &node{manifest: manifest, children: content.Manifests}
	for _, child := range content.Manifests {
		if !g.seen[child.Digest] {
			g.seen[child.Digest] = true
			below = append(below, child)
		}
	}
	if content.Config != nil {
		g.add(*content.Config)
	}
	for _, blob := range append(content.Layers, content.Blobs...) {
		g.add(blob)
	}
	return below, nil
}

func (g *graph) add(blob v1.Descriptor) {
	if g.seen[blob.Digest] || !blob.MediaType.IsDistributable() {
		return
	}
	g.seen[blob.Digest] = true
	g.blobs = append(g.blobs, blob)
}

// levels returns the manifests so that each one's children are in the levels before its own. The root is the last.
func (g *graph) levels() [][]Manifest {
	levels := make([][]Manifest, g.height(g.root))
	for _, one := range g.manifests {
		levels[one.height-1] = append(levels[one.height-1], one.manifest)
	}
	return levels
}

// find returns a manifest of the graph that is so; so may be nil, which none is.
func (g *graph) find(so func(Manifest) bool) (found Manifest, ok bool) {
	if so == nil {
		return Manifest{}, false
	}
	for _, one := range g.manifests {
		if so(one.manifest) {
			return one.manifest, true
		}
	}
	return Manifest{}, false
}

func (g *graph) height(of v1.Hash) int {
	one := g.manifests[of]
	if one == nil {
		return 0
	}
	if one.height == 0 {
		highest := 0
		for _, child := range one.children {
			highest = max(highest, g.height(child.Digest))
		}
		one.height = highest + 1
	}
	return one.height
}

func (g *graph) tooLarge() error {
	return g.tooMuch("its manifests have more than %d MiB in all", mostManifestBytes>>20)
}

// tooMuch refuses what no build makes.
func (g *graph) tooMuch(format string, args ...any) error {
	err := fault.New(fault.Refused, "refusing to copy the image: "+format, args...)
	if repository, ok := g.from.(*Repository); ok {
		err = fault.At(repository.Side(), err)
	}
	return fault.WithHint(err, "no build makes such an image: find out who wrote it, and how")
}
