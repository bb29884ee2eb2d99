package clonebuildpush

import (
	"context"
	"fmt"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// found is an image that need not be built.
type found struct {
	registry.Manifest
	why      string // one of the reasons below
	revision string // the commit that it says it was built from
}

// manifest returns nil for nil.
func (f *found) manifest() *registry.Manifest {
	if f == nil {
		return nil
	}
	return &f.Manifest
}

// Why an image is not built.
const (
	reusedVersion   = "version"   // the version that is to be written is there, of this very commit
	reusedCommit    = "commit"    // it is there, of this very commit
	reusedUnchanged = "unchanged" // it is there, built from the same
)

// findExisting looks whether there is anything to build. A Git tag's image is that of its very commit, where dev has
// it already, or where the version itself is of that commit: production then gets what was tested. With a key, an image that was built from the same will do as well;
// key may be nil. A version that must not be replaced is refused now, not after the build.
func (r *runner) findExisting(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, from source,
	key func() (string, error),
) (*found, error) {
	existing, err := r.findTested(ctx, rt, target, what, from)
	if err == nil && existing == nil && key != nil {
		var known string
		if known, err = key(); err == nil && known != "" {
			existing, err = r.findUnchanged(ctx, rt, target, known)
		}
	}
	if err != nil || what.Overwrite {
		return existing, err
	}
	current, present, err := target.Lookup(ctx, what.Image.Version)
	switch {
	case err != nil:
		return nil, err
	case !present, existing != nil && existing.Digest == current.Digest:
		return existing, nil
	case from.Tag == "" || from.Hash == "":
		return nil, taken(target, what, current, existing.manifest())
	}
	facts, err := target.Inspect(ctx, current)
	if err != nil {
		return nil, fmt.Errorf("reading which commit %q was built from: %w", target.Reference(what.Image.Version), err)
	}
	own, err := r.isOf(ctx, facts, from)
	switch {
	case err != nil:
		return nil, err
	case !own:
		return nil, moved(target, what, current, facts.Revision(), from)
	case existing == nil && covers(facts.Platforms, r.platforms()):
		return &found{current, reusedVersion, facts.Revision()}, nil
	}
	return nil, taken(target, what, current, existing.manifest())
}

// moved says that a version is there already, of another commit than the one that the Git tag leads to.
func moved(target *registry.Repository, what plan, current registry.Manifest, revision string, from source) error {
	built := "built from commit " + revision
	if revision == "" {
		built = "which does not say of which commit it is"
	}
	err := fault.New(fault.Refused, "tagging %q: it is there already, as %s, %s, and the Git tag %q leads to commit %s",
		target.Reference(what.Image.Version), current.Digest, built, from.Tag, from.Hash)
	return fault.WithHint(fault.At(side, err),
		"a Git tag that was moved is not released again: give the commit a tag of its own, or set OVERWRITE=true")
}

// findTested looks for the image of a Git tag's commit. One for other platforms is another run's.
func (r *runner) findTested(
	ctx context.Context, rt *step.Runtime, target *registry.Repository, what plan, from source,
) (*found, error) {
	if from.Tag == "" || what.CommitTag == "" {
		return nil, nil
	}
	held, present, err := target.Lookup(ctx, what.CommitTag)
	if err != nil || !present {
		return nil, err
	}
	facts, err := target.Inspect(ctx, held)
	if err != nil {
		return nil, fmt.Errorf("reading which commit %q was built from: %w", target.Reference(what.CommitTag), err)
	}
	if !covers(facts.Platforms, r.platforms()) {
		rt.Log.Info().Str("tag", what.CommitTag).Strs("has", facts.Platforms).Strs("wanted", r.platforms()).
			Msg("the image of this very commit is there for other platforms: it is built for these")
		return nil, nil
	}
	if err := r.checkRevision(ctx, target, held, facts, what, from); err != nil {
		return nil, err
	}
	return &found{held, reusedCommit, facts.Revision()}, nil
}

// tell says that nothing is built.
func (f *found) tell(rt *step.Runtime, what plan) {
	line := rt.Log.Info().Str("digest", f.Digest.String())
	if f.why == reusedUnchanged {
		line.Str("tag", what.KeyTag()).Str("built_from", f.revision).
			Msg("nothing has changed since the image was built: it is reused, not built again")
		return
	}
	tag := what.CommitTag
	if f.why == reusedVersion {
		tag = what.Image.Version
	}
	line.Str("tag", tag).Msg("the image of this very commit is there: it is tagged, not built again")
}

// report is what the report tells of it.
func (f *found) report() report { return report{Reused: f.why, BuiltOf: f.revision} }

// taken says that a version is there already, and that it is not to be replaced.
func taken(target *registry.Repository, what plan, current registry.Manifest, wanted *registry.Manifest) error {
	err := fault.New(fault.Refused, "tagging %q: it is there already, as %s", target.Reference(what.Image.Version), current.Digest)
	if wanted != nil {
		err = fault.New(fault.Refused, "tagging %q: it is there already, as %s, and this commit's image is %s",
			target.Reference(what.Image.Version), current.Digest, wanted.Digest)
	}
	return fault.WithHint(fault.At(side, err), "build another version, or set OVERWRITE=true")
}
