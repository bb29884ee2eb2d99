package registry

import (
	"context"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"

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

// Copier copies images, any number of them at a time. What is under way is bounded for all of them together, and what
// one of them has brought to a registry, or found there, another does not send again: the registry takes it over from
// the other repository. The zero value is ready to use.
type Copier struct {
	lanes  lanes
	ledger ledger
}

// Prepare asks the target ahead, at the time when other questions are under way, whether a repository is one that it does
// not know yet, and so has nothing: then nothing is looked for there before it is sent. It returns at once; the asking
// ends with ctx, which is to be that of the whole run. No answer, when it matters, counts as no.
func (c *Copier) Prepare(ctx context.Context, to *Repository) {
	asked, first := c.ledger.ask(to)
	if !first {
		return
	}
	go func() {
		defer close(asked.answered)
		var err error
		defer fault.Catch(&err)
		asked.is = to.unknown(ctx)
	}()
}

// Job is one copy: of the image with the manifest Root, with all its platforms, into the repository To.
type Job struct {
	From Source
	Root Manifest
	To   *Repository
	// Attachments has what is attached to the image in the source, a [Repository], copied too: the referrers of each of
	// its manifests and cosign's tags, and what is attached to these.
	Attachments bool
	// Stays, when set, tells of a manifest that has no place in another registry. Of what is attached, one that is such a
	// manifest, or leads to one, is left in the source, and all that is attached to it. An image that leads to one is
	// refused.
	Stays func(Manifest) bool
	// Last, when set, is called when all but the image's own manifest is there, at the same time as that is written.
	Last func(context.Context) error
	// Report, which may be nil, is called from several goroutines, one at a time.
	Report func(Progress)
}

// Copied says what a copy consisted of.
type Copied struct {
	Manifests int   // written: the image's own, one for each platform, and the index
	Blobs     int   // layers and configurations, in all
	Present   int   // of these, those that were there already
	Mounted   int   // of these, those that the registry took over from another of its repositories
	Bytes     int64 // sent
	Attached  int   // manifests that were attached: those that were not yet
	// Left tells of attachments that are not as in the source, each in a sentence: the target's own were left, or it
	// cannot list what it holds.
	Left []string
}

// Copy copies one image, found by its digest in the source: see [Copier.Copy].
func Copy(ctx context.Context, from Source, root v1.Hash, to *Repository, report func(Progress)) (Copied, error) {
	manifest, err := from.Manifest(ctx, root)
	if err != nil {
		return Copied{}, err
	}
	return new(Copier).Copy(ctx, Job{From: from, Root: manifest, To: to, Report: report})
}

// Copy does the job. It writes blobs first, then the manifests by their digests, children before the index, then what is
// attached to them, and no tag but cosign's: until a tag is put, nobody sees the image. A copy that was broken off is
// completed by another. Nothing is written unless all of the image's manifests are there in the source. Layers that must
// not be distributed ("foreign") are left where they are. Errors name their side.
func (c *Copier) Copy(ctx context.Context, job Job) (Copied, error) {
	image, err := walk(ctx, job.From, job.Root)
	if err != nil {
		return Copied{}, err
	}
	if one, stays := image.find(job.Stays); stays {
		return Copied{}, image.tooMuch("it leads to %q, of the type %q, which is no part of an image", one.Digest, one.ArtifactType())
	}
	run := c.run(job)
	run.copied.Blobs = len(image.blobs)
	group, groupContext := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		return run.blobs(groupContext, image.blobs)
	})
	more := run.attachments(groupContext, group, slices.Collect(maps.Keys(image.manifests)))
	if err := group.Wait(); err != nil {
		return run.copied, err
	}
	if err := run.manifests(ctx, image); err != nil {
		return run.copied, err
	}
	err = run.attach(ctx, more)
	return run.copied, err
}

// Complete attaches what is attached in the source to an image that the target holds already.
func (c *Copier) Complete(ctx context.Context, job Job) (Copied, error) {
	subjects := []v1.Hash{job.Root.Digest}
	for _, child := range job.Root.Children() {
		if child.MediaType.IsIndex() {
			image, err := walk(ctx, job.From, job.Root)
			if err != nil {
				return Copied{}, err
			}
			subjects = slices.Collect(maps.Keys(image.manifests))
			break
		}
		subjects = append(subjects, child.Digest)
	}
	slices.SortFunc(subjects, func(a, b v1.Hash) int { return strings.Compare(a.Hex, b.Hex) })
	run := c.run(job)
	group, groupContext := errgroup.WithContext(ctx)
	more := run.attachments(groupContext, group, slices.Compact(subjects))
	if err := group.Wait(); err != nil {
		return run.copied, err
	}
	err := run.attach(ctx, more)
	return run.copied, err
}

func (c *Copier) run(job Job) *copying {
	run := &copying{Job: job, copier: c}
	to := job.To.client.throttle // a registry that has had too many calls gets fewer blobs at a time too
	run.limit, run.most = to.now, to.allowed
	if from, ok := job.From.(*Repository); ok {
		source := from.client.throttle
		run.limit = func() int { return min(to.now(), source.now()) }
		run.most = func() int { return min(to.allowed(), source.allowed()) }
		if from.registry.host == job.To.registry.host && !from.Same(job.To) {
			run.mountFrom = from
		}
	}
	return run
}

// attachments begins to look for what is attached to the manifests, and to bring its blobs; nil when that is not wanted.
func (c *copying) attachments(ctx context.Context, group *errgroup.Group, subjects []v1.Hash) *attachments {
	from, ok := c.From.(*Repository)
	if !c.Attachments || !ok {
		return nil
	}
	more := &attachments{from: from, to: c.To, stays: c.Stays}
	more.blobs = func(blobs []v1.Descriptor) {
		c.mu.Lock()
		c.copied.Blobs += len(blobs)
		c.mu.Unlock()
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			return c.blobs(ctx, blobs)
		})
	}
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		return more.gather(ctx, subjects)
	})
	return more
}

func (c *copying) attach(ctx context.Context, more *attachments) error {
	if more == nil {
		return nil
	}
	err := more.write(ctx)
	c.copied.Attached, c.copied.Left = more.written, more.left
	return err
}

// copying is one run of Copy.
type copying struct {
	Job
	copier    *Copier
	mountFrom *Repository // the source, where it is of the target's registry
	limit     func() int  // of lanes
	most      func() int  // of lanes, for what is large

	mu     sync.Mutex
	copied Copied
}

// blobs brings all blobs, the large ones first: they take the longest.
func (c *copying) blobs(ctx context.Context, blobs []v1.Descriptor) error {
	slices.SortStableFunc(blobs, func(a, b v1.Descriptor) int { return int(min(1, max(-1, b.Size-a.Size))) })
	return inParallel(ctx, blobs, c.blob)
}

// manifests writes the manifests of each level once those of the level before are there.
func (c *copying) manifests(ctx context.Context, image *graph) error {
	below, root := image.order()
	put := func(ctx context.Context, one Manifest) error { return c.To.Put(ctx, one, "") }
	for _, level := range below {
		if err := inParallel(ctx, level, put); err != nil {
			return err
		}
		c.copied.Manifests += len(level)
	}
	last := []func(context.Context) error{func(ctx context.Context) error { return put(ctx, root) }}
	if c.Last != nil {
		last = append(last, c.Last)
	}
	err := inParallel(ctx, last, func(ctx context.Context, do func(context.Context) error) error { return do(ctx) })
	if err == nil {
		c.copied.Manifests++
	}
	return err
}
