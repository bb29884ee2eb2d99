package registry

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
)

const (
	// mostAttached and mostAttachedBytes bound what may be attached to one image, at any depth, in manifests.
	mostAttached, mostAttachedBytes = 1000, 32 << 20
	// deepestAttached is how far what is attached to what is attached is followed.
	deepestAttached = 8
	// parallelSubjects is how many manifests are asked about at a time, with five requests each.
	parallelSubjects = 8
)

// attachments are what is attached to an image in the source: its manifests' referrers (image specification, "subject")
// and cosign's tags, those of the referrers too, and so on.
type attachments struct {
	levels [][]*attached // those of a level have their subjects in the levels before, those of the first in the image
	tags   []Tagged      // cosign's, of all
	graphs []*graph      // of the tags

	mu            sync.Mutex
	number, bytes int
	seen          map[v1.Hash]bool
	from, to      *Repository
	stays         func(Manifest) bool   // see [Job]
	blobs         func([]v1.Descriptor) // called for what is found, as it is found
	confirmations []func(context.Context) error
	written       int
	left          []string
}

// attached is what refers to one manifest.
type attached struct {
	subject   v1.Hash
	referrers []*graph
	there     map[v1.Hash]bool // those that the target lists already
}

// gather finds what is attached to manifests, and asks the target what it has of it.
func (a *attachments) gather(ctx context.Context, subjects []v1.Hash) error {
	a.seen = map[v1.Hash]bool{}
	for _, subject := range subjects {
		a.seen[subject] = true
	}
	for depth := 0; len(subjects) > 0; depth++ {
		if depth == deepestAttached {
			return a.tooMuch("what is attached to what is attached goes deeper than %d", deepestAttached)
		}
		found := make([]*attached, len(subjects))
		tags := make([][]Tagged, len(subjects))
		group, groupContext := errgroup.WithContext(ctx)
		group.SetLimit(2 * parallelSubjects)
		for i, subject := range subjects {
			group.Go(func() (err error) {
				defer fault.Catch(&err)
				found[i], err = a.referrersOf(groupContext, subject)
				return err
			})
			group.Go(func() (err error) {
				defer fault.Catch(&err)
				tags[i], err = a.from.CosignTags(groupContext, subject)
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
		var err error
		if subjects, err = a.take(ctx, found, tags); err != nil {
			return err
		}
	}
	return nil
}

// referrersOf reads all manifests that have the subject; nil when there are none. What a list names that is not there, or
// has another subject, is not attached. What the list says of a manifest decides nothing about whether it stays.
func (a *attachments) referrersOf(ctx context.Context, subject v1.Hash) (*attached, error) {
	list, err := a.from.Referrers(ctx, subject)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	about := &attached{subject: subject, referrers: make([]*graph, len(list)), there: map[v1.Hash]bool{}}
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelManifests)
	group.Go(func() (err error) {
		defer fault.Catch(&err)
		there, err := a.to.Referrers(groupContext, subject)
		for _, one := range there {
			about.there[one.Digest] = true
		}
		return err
	})
	for i, one := range list {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			manifest, present, err := a.from.lookup(groupContext, one.Digest.String(), declared(one))
			if err != nil || !present {
				return err
			}
			if named, _ := manifest.Subject(); named != subject || a.stays != nil && a.stays(manifest) {
				return nil
			}
			found, err := a.walk(groupContext, manifest)
			if err == nil && !a.staysFor(found, one.Digest.String()) {
				about.referrers[i] = found
			}
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, fmt.Errorf("reading what is attached to %q: %w", subject, err)
	}
	about.referrers = slices.DeleteFunc(about.referrers, func(one *graph) bool { return one == nil })
	return about, nil
}

// staysFor tells whether something stays in the source because of what it leads to. Nobody's tool attaches such a thing,
// so it is told.
func (a *attachments) staysFor(found *graph, name string) bool {
	one, stays := found.find(a.stays)
	if stays {
		a.leave(fmt.Sprintf("%q in the source leads to %q, of the type %q, and was left there", a.from.Reference(name), one.Digest, one.ArtifactType()))
	}
	return stays
}

// walk reads what a manifest leads to, within the bounds.
func (a *attachments) walk(ctx context.Context, root Manifest) (*graph, error) {
	found, err := walk(ctx, a.from, root)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.number += len(found.manifests)
	a.bytes += int(found.bytes)
	if a.number > mostAttached || a.bytes > mostAttachedBytes {
		return nil, a.tooMuch("more than %d manifests are attached to it, or they have more than %d MiB",
			mostAttached, mostAttachedBytes>>20)
	}
	return found, nil
}

// take notes what a level has, begins to bring its blobs, and returns the manifests that may have something attached in
// turn.
func (a *attachments) take(ctx context.Context, found []*attached, tags [][]Tagged) (next []v1.Hash, err error) {
	var level []*attached
	var graphs []*graph
	for _, one := range found {
		if one != nil && len(one.referrers) > 0 {
			level = append(level, one)
			graphs = append(graphs, one.referrers...)
		}
	}
	for _, tagged := range slices.Concat(tags...) {
		graph, err := a.walk(ctx, tagged.Manifest)
		if err != nil {
			return nil, err
		}
		if a.staysFor(graph, tagged.Tag) {
			continue
		}
		a.tags = append(a.tags, tagged)
		a.graphs = append(a.graphs, graph)
		graphs = append(graphs, graph)
	}
	if len(level) > 0 {
		a.levels = append(a.levels, level)
	}
	for _, graph := range graphs {
		a.blobs(graph.blobs)
		for digest := range graph.manifests {
			if !a.seen[digest] {
				a.seen[digest] = true
				next = append(next, digest)
			}
		}
	}
	return next, nil
}

// write attaches all of it in the target, which has the image, and the blobs of all that is attached.
func (a *attachments) write(ctx context.Context) error {
	for _, level := range a.levels {
		err := inParallel(ctx, level, func(ctx context.Context, one *attached) error { return a.attach(ctx, one) })
		if err != nil {
			return err
		}
	}
	err := inParallel(ctx, a.confirmations, func(ctx context.Context, confirm func(context.Context) error) error { return confirm(ctx) })
	if err != nil {
		return err
	}
	var tags []int
	for i := range a.tags {
		tags = append(tags, i)
	}
	return inParallel(ctx, tags, func(ctx context.Context, i int) error { return a.tag(ctx, a.tags[i], a.graphs[i]) })
}

// attach writes what the target lacks of one subject's referrers.
func (a *attachments) attach(ctx context.Context, about *attached) error {
	var missing []Manifest
	for _, graph := range about.referrers {
		if about.there[graph.root] {
			continue
		}
		below, root := graph.order()
		if err := a.put(ctx, below); err != nil {
			return err
		}
		missing = append(missing, root)
	}
	if len(missing) == 0 {
		return nil
	}
	confirm, err := a.to.AttachReferrers(ctx, about.subject, missing)
	if unlisted, stored := errors.AsType[*UnlistedError](err); stored {
		confirm, err = nil, nil
		a.leave(unlisted.Error())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if confirm != nil {
		a.confirmations = append(a.confirmations, confirm)
	}
	if err == nil {
		a.written += len(missing)
	}
	return err
}

// tag writes one of cosign's tags. One that the target has already is written only if nothing that it holds is lost.
func (a *attachments) tag(ctx context.Context, tagged Tagged, graph *graph) error {
	held, present, err := a.to.Lookup(ctx, tagged.Tag)
	switch {
	case err != nil || present && held.Digest == tagged.Manifest.Digest:
		return err
	case present && !tagged.Manifest.holdsAllOf(held):
		a.leave(fmt.Sprintf("the tag %q holds %q, with other contents than %q in the source, and was left",
			a.to.Reference(tagged.Tag), held.Digest, tagged.Manifest.Digest))
		return nil
	}
	below, root := graph.order()
	if err := a.put(ctx, below); err != nil {
		return err
	}
	err = a.to.Put(ctx, root, tagged.Tag)
	if present && RefusesTag(err) {
		a.leave(fmt.Sprintf("the tag %q holds %q, and the registry refuses to have it hold %q: %v",
			a.to.Reference(tagged.Tag), held.Digest, root.Digest, err))
		return nil
	}
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.written++
	}
	return err
}

// put writes manifests that others lead to, one level after the other.
func (a *attachments) put(ctx context.Context, levels [][]Manifest) error {
	for _, level := range levels {
		err := inParallel(ctx, level, func(ctx context.Context, one Manifest) error { return a.to.Put(ctx, one, "") })
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *attachments) leave(what string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left = append(a.left, what)
}

func (a *attachments) tooMuch(format string, args ...any) error {
	return (&graph{from: a.from}).tooMuch(format, args...)
}

// holdsAllOf tells whether all layers of other are layers of this one too. Cosign adds a signature as a layer.
func (m Manifest) holdsAllOf(other Manifest) bool {
	ours, err := m.content()
	theirs, otherErr := other.content()
	if err != nil || otherErr != nil || len(theirs.Manifests) > 0 {
		return false
	}
	for _, layer := range theirs.Layers {
		if !slices.ContainsFunc(ours.Layers, func(one v1.Descriptor) bool { return one.Digest == layer.Digest }) {
			return false
		}
	}
	return true
}

// order returns the manifests below the root, each level after those that it leads to, and the root.
func (g *graph) order() (below [][]Manifest, root Manifest) {
	levels := g.levels()
	return levels[:len(levels)-1], g.manifests[g.root].manifest
}

// inParallel does one thing for all, as many at a time as calls may be under way.
func inParallel[T any](ctx context.Context, all []T, do func(context.Context, T) error) error {
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(mostLanes)
	for _, one := range all {
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			return do(groupContext, one)
		})
	}
	return group.Wait()
}
