package registry

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

// Source is where manifests and blobs are copied from: a [Repository], or an image made here ([FromImage]).
type Source interface {
	// Manifest returns the manifest of a digest; its Raw has that digest.
	Manifest(ctx context.Context, digest v1.Hash) (Manifest, error)
	// Blob returns a blob's content, which ends in an error unless it has the descriptor's digest and size, and when
	// ctx ends.
	Blob(ctx context.Context, blob v1.Descriptor) (io.ReadCloser, error)
}

// Copied says what a copy consisted of.
type Copied struct {
	Manifests int   // written: the image's own, one for each platform, and the index
	Blobs     int   // layers and configurations, in all
	Present   int   // of these, those that were there already
	Mounted   int   // of these, those that the registry took over from another of its repositories
	Bytes     int64 // sent
}

// Progress is how far one blob is. The last report of a blob has State other than Running.
type Progress struct {
	Blob  v1.Descriptor
	Done  int64
	State State
}

// State says what becomes of a blob.
type State string

// The states of a blob.
const (
	Running State = "running"
	Sent    State = "sent"
	Present State = "present" // was there already
	Mounted State = "mounted" // taken over by the registry from another of its repositories
)

const (
	// parallelBlobs is what registries put up with from one client, and docker's number too (3 to 5).
	parallelBlobs = 4
	// reportEvery keeps the reports about a running blob from costing more than the blob.
	reportEvery = time.Second
	// deepestIndex and mostManifests bound what a hostile index can have us fetch, and mostManifestBytes what of it is
	// held in memory: an index of a hundred platforms has some 100 KiB in all.
	deepestIndex, mostManifests, mostManifestBytes = 8, 1000, 32 << 20
)

// Copy brings the image with the digest root, with all its platforms, into the repository to. It writes blobs first,
// then the manifests by their digests, children before the index, and no tag: until a tag is put, nobody sees it. A
// copy that was broken off is completed by another. Nothing is written unless all manifests are there in the source.
// Layers that must not be distributed ("foreign") are left where they are.
//
// report, which may be nil, is called from several goroutines, one at a time. Errors name their side.
func Copy(ctx context.Context, from Source, root v1.Hash, to *Repository, report func(Progress)) (Copied, error) {
	walk := &graph{from: from, seen: map[v1.Hash]bool{}}
	if err := walk.visit(ctx, root, 0); err != nil {
		return Copied{}, err
	}
	run := &copying{from: from, to: to, report: report, copied: Copied{Blobs: len(walk.blobs)}}
	if repository, ok := from.(*Repository); ok && repository.registry.host == to.registry.host && !repository.Same(to) {
		run.mountFrom = repository
	}
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelBlobs)
	for _, blob := range walk.blobs {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			return run.blob(groupContext, blob)
		})
	}
	if err := group.Wait(); err != nil {
		return run.copied, err
	}
	for _, manifest := range walk.manifests {
		if err := to.Put(ctx, manifest, ""); err != nil {
			return run.copied, err
		}
		run.copied.Manifests++
	}
	return run.copied, nil
}

// graph is all that a manifest leads to.
type graph struct {
	from      Source
	seen      map[v1.Hash]bool
	manifests []Manifest // children before their index
	bytes     int        // of these, and of the indexes that lead to where the walk is
	blobs     []v1.Descriptor
}

func (g *graph) visit(ctx context.Context, digest v1.Hash, depth int) error {
	if g.seen[digest] {
		return nil
	}
	g.seen[digest] = true
	if depth > deepestIndex || len(g.manifests) >= mostManifests {
		return g.tooMuch("it is deeper than %d or of more than %d manifests", deepestIndex, mostManifests)
	}
	manifest, err := g.from.Manifest(ctx, digest)
	if err != nil {
		return err
	}
	if g.bytes += len(manifest.Raw); g.bytes > mostManifestBytes {
		return g.tooMuch("its manifests have more than %d MiB in all", mostManifestBytes>>20)
	}
	content, err := manifest.content()
	if err != nil {
		return err
	}
	for _, child := range content.Manifests {
		if err := g.visit(ctx, child.Digest, depth+1); err != nil {
			return fmt.Errorf("reading index %q: %w", digest, err)
		}
	}
	if content.Config != nil {
		g.add(*content.Config)
	}
	for _, blob := range append(content.Layers, content.Blobs...) {
		g.add(blob)
	}
	g.manifests = append(g.manifests, manifest)
	return nil
}

// tooMuch refuses what no build makes.
func (g *graph) tooMuch(format string, args ...any) error {
	err := fault.New(fault.Refused, "refusing to copy the image: "+format, args...)
	if repository, ok := g.from.(*Repository); ok {
		err = fault.At(repository.Side(), err)
	}
	return fault.WithHint(err, "no build makes such an image: find out who wrote it, and how")
}

func (g *graph) add(blob v1.Descriptor) {
	if g.seen[blob.Digest] || !blob.MediaType.IsDistributable() {
		return
	}
	g.seen[blob.Digest] = true
	g.blobs = append(g.blobs, blob)
}

// copying is one run of Copy.
type copying struct {
	from      Source
	to        *Repository
	mountFrom *Repository
	report    func(Progress)

	mu     sync.Mutex
	copied Copied
}

func (c *copying) blob(ctx context.Context, blob v1.Descriptor) error {
	there, err := c.to.hasBlob(ctx, blob)
	if err != nil {
		return err
	}
	if there {
		c.finish(blob, Present)
		return nil
	}
	mounted, err := c.to.upload(ctx, blob, func(ctx context.Context) (io.ReadCloser, error) {
		content, err := c.from.Blob(ctx, blob)
		if err != nil {
			return nil, err
		}
		c.tell(Progress{Blob: blob, State: Running})
		return &metered{ReadCloser: content, blob: blob, tell: c.tell, told: time.Now()}, nil
	}, c.mountFrom)
	switch {
	case err != nil:
		return err
	case mounted:
		c.finish(blob, Mounted)
	default:
		c.finish(blob, Sent)
	}
	return nil
}

func (c *copying) finish(blob v1.Descriptor, state State) {
	c.mu.Lock()
	switch state {
	case Present:
		c.copied.Present++
	case Mounted:
		c.copied.Mounted++
	default:
		c.copied.Bytes += blob.Size
	}
	c.mu.Unlock()
	c.tell(Progress{Blob: blob, Done: blob.Size, State: state})
}

func (c *copying) tell(progress Progress) {
	if c.report == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report(progress)
}

// metered tells how far a stream is, every now and then.
type metered struct {
	io.ReadCloser
	blob v1.Descriptor
	tell func(Progress)
	done int64
	told time.Time
}

func (m *metered) Read(p []byte) (n int, err error) {
	n, err = m.ReadCloser.Read(p)
	m.done += int64(n)
	if time.Since(m.told) >= reportEvery {
		m.told = time.Now()
		m.tell(Progress{Blob: m.blob, Done: m.done, State: Running})
	}
	return n, err
}
