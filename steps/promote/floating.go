package promote

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
)

// floatingTag is a tag that follows the newest version, such as "latest" or "1".
type floatingTag struct {
	tag      string
	template string // that it is made from
	version  image.Semantic

	held   *registry.Manifest // that it holds, nil when it is absent
	report *floatingReport
}

// floatingReport is what REPORT_FILE says of a floating tag.
type floatingReport struct {
	Tag      string        `json:"tag"`                // HOST/NAME:TAG
	State    floatingState `json:"state"`              // what was decided; done only if the run succeeded
	Replaced string        `json:"replaced,omitempty"` // digest of the image that it held
	Version  string        `json:"version,omitempty"`  // of that image
}

type floatingState string

// The states of a floating tag.
const (
	floatMoved floatingState = "moved" // from an older version, or from nothing
	floatSame  floatingState = "same"  // holds this very image already
	floatKept  floatingState = "kept"  // holds a newer version
)

// floatingTags has each item know which floating tags are its own. When two images of a set would have the same one, it
// is the newer version's.
func (c *Config) floatingTags(items []*item) error {
	var problems []error
	owner, tags := map[string]*item{}, map[string]bool{}
	for _, it := range items {
		tags[it.report.Target] = true
	}
	for _, it := range items {
		version, ordered := image.ParseSemantic(it.tag)
		switch {
		case len(c.templates()) == 0:
			return nil
		case !ordered:
			problems = append(problems, step.Problem("FLOATING_TAGS: %q is no version that comes before or after others, as 1.2.3 does", it.name()))
			continue
		case version.PreRelease() && !c.FloatingPreReleases:
			it.preRelease = true
			continue
		}
		for _, template := range c.templates() {
			one := &floatingTag{tag: version.Fill(template), template: template, version: version}
			reference := it.to.Reference(one.tag)
			other := owner[reference]
			switch {
			case image.CheckTarget(one.tag) != nil:
				problems = append(problems, step.Problem("FLOATING_TAGS: %w", image.CheckTarget(one.tag)))
				continue
			case one.tag == it.tag || slices.ContainsFunc(it.floating, func(f *floatingTag) bool { return f.tag == one.tag }):
				continue
			case tags[reference]:
				problems = append(problems, step.Problem("FLOATING_TAGS: %q is the version of another image of the set", reference))
				continue
			case other != nil:
				theirs := other.floating[slices.IndexFunc(other.floating, func(f *floatingTag) bool { return f.tag == one.tag })]
				if order := theirs.version.Compare(version); order > 0 {
					continue
				} else if order == 0 {
					problems = append(problems, step.Problem("FLOATING_TAGS: %q would be that of %q and of %q", reference, other.name(), it.name()))
					continue
				}
				other.floating = slices.DeleteFunc(other.floating, func(f *floatingTag) bool { return f == theirs })
			}
			owner[reference] = it
			it.floating = append(it.floating, one)
		}
	}
	return errors.Join(problems...)
}

func (c *Config) templates() []string {
	var all []string
	for _, template := range c.FloatingTags {
		if template = strings.TrimSpace(template); template != "" {
			all = append(all, template)
		}
	}
	return all
}

// checkTemplates says what is wrong with FLOATING_TAGS.
func (c *Config) checkTemplates() error {
	var problems []error
	some, _ := image.ParseSemantic("1.2.3")
	for _, template := range c.templates() {
		if err := image.CheckTarget(some.Fill(template)); err != nil {
			problems = append(problems, step.Problem("FLOATING_TAGS: %q: only {major}, {minor} and {patch} are filled in: %w", template, err))
		}
	}
	return errors.Join(problems...)
}

// decideFloating finds out where an item's floating tags are, and which of them it moves. It fails closed: a tag is only
// moved off an image whose version is known.
func (p *promotion) decideFloating(ctx context.Context, it *item) error {
	if it.preRelease {
		p.rt.Log.Info().Msgf("%s is a pre-release: FLOATING_TAGS stay", it.name())
	}
	for _, one := range it.floating {
		one.report = &floatingReport{Tag: it.to.Reference(one.tag), State: floatMoved}
		found, present, err := it.to.Lookup(ctx, one.tag)
		switch {
		case err != nil:
			return err
		case present && found.Digest == it.image.Digest:
			one.report.State = floatSame
		case it.promotion() == Undone && (!present || found.Digest != it.held.Digest):
			one.report.State = floatKept // only what followed to the image that goes follows back
		case present:
			one.held = &found
			one.report.Replaced = found.Digest.String()
			if it.promotion() == Undone {
				break
			}
			if err := one.compare(ctx, it, p.force.backup); err != nil {
				return err
			}
		}
		it.report.Floating = append(it.report.Floating, one.report)
	}
	return nil
}

// compare decides about a floating tag that holds another image.
func (f *floatingTag) compare(ctx context.Context, it *item, backup image.Template) error {
	held := it.tag
	known, err := f.heldBefore(ctx, it, backup)
	if err == nil && !known {
		held, known, err = f.heldVersion(ctx, it.to)
	}
	switch {
	case err != nil:
		return err
	case !known:
		return fault.WithHint(fault.At(it.to.Side(), fault.New(fault.Refused,
			"moving the floating tag %q: it holds %q, and no version's tag does: whether that is older is not known",
			f.report.Tag, f.held.Digest)),
			fmt.Sprintf("to move it all the same, promote this image with RELEASE_VERSION=%s and FORCE_REPLACES=%s", f.tag, f.held.Digest))
	}
	f.report.Version = held
	if theirs, _ := image.ParseSemantic(held); theirs.Compare(f.version) > 0 {
		f.report.State = floatKept
	}
	return nil
}

// heldBefore tells whether the floating tag holds what the item's own version held before it was replaced, as a run leaves
// it that was broken off before its floating tags: the backup tag that such a run makes holds it too. A backup tag
// without the version in it may be any version's.
func (f *floatingTag) heldBefore(ctx context.Context, it *item, backup image.Template) (bool, error) {
	tag, err := backup.Expand(it.tag, f.held.Digest.String())
	if err != nil || !strings.Contains(tag, it.tag) || !backup.Versioned() {
		return false, nil //nolint:nilerr // no such backup tag can have been made
	}
	found, present, err := it.to.Lookup(ctx, tag)
	return present && found.Digest == f.held.Digest, err
}

const (
	// mostVersions is how many versions are looked at for the one that a floating tag holds: the newest come first, and
	// the tag is one of the newest's as a rule.
	mostVersions = 200
	// parallelVersions is how many of them at a time.
	parallelVersions = 8
)

// heldVersion returns the newest version whose tag holds the same image as the floating tag. The image's label is not
// asked: an image that does not set its own version has its base image's.
func (f *floatingTag) heldVersion(ctx context.Context, in *registry.Repository) (version string, known bool, err error) {
	tags, err := in.Tags(ctx)
	if err != nil {
		return "", false, err
	}
	candidates := f.candidates(tags)
	for batch := range slices.Chunk(candidates[:min(len(candidates), mostVersions)], parallelVersions) {
		holds := make([]bool, len(batch))
		group, groupContext := errgroup.WithContext(ctx)
		for i, tag := range batch {
			group.Go(func() (err error) {
				defer fault.Catch(&err)
				found, present, err := in.Lookup(groupContext, tag)
				holds[i] = present && found.Digest == f.held.Digest
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return "", false, err
		}
		if i := slices.Index(holds, true); i >= 0 {
			return batch[i], true, nil
		}
	}
	return "", false, nil
}

// candidates returns the tags that are versions, the newest first, and those before all others that the floating tag is
// made for: of "1", those of 1.
func (f *floatingTag) candidates(tags []string) []string {
	type candidate struct {
		tag     string
		version image.Semantic
		own     bool
	}
	var all []candidate
	for _, tag := range tags {
		if version, ok := image.ParseSemantic(tag); ok && tag != f.tag {
			all = append(all, candidate{tag, version, version.Fill(f.template) == f.tag})
		}
	}
	slices.SortStableFunc(all, func(a, b candidate) int {
		switch {
		case a.own == b.own:
			return b.version.Compare(a.version)
		case a.own:
			return -1
		}
		return 1
	})
	var sorted []string
	for _, one := range all {
		sorted = append(sorted, one.tag)
	}
	return sorted
}

// moveFloating moves an item's floating tags. The version's own tag holds the image by now.
func (p *promotion) moveFloating(ctx context.Context, it *item) error {
	for _, one := range it.floating {
		switch one.report.State {
		case floatKept:
			p.rt.Log.Info().Str("holds", one.report.Version).Msgf("%s stays where it is", one.report.Tag)
			continue
		case floatSame:
			continue
		}
		if err := one.move(ctx, it); err != nil {
			return fmt.Errorf("moving the floating tag %q, after the version's own: %w", one.report.Tag, err)
		}
		p.rt.Log.Info().Msgf("%s holds the image now", one.report.Tag)
	}
	return nil
}

// move writes a floating tag that has not changed since it was decided about, and reads it back.
func (f *floatingTag) move(ctx context.Context, it *item) error {
	done, err := f.moved(ctx, it)
	if done || err != nil {
		return err
	}
	again := func(ctx context.Context) (bool, error) { return f.moved(ctx, it) }
	if err := it.to.PutTag(ctx, it.image, f.tag, time.Now(), again); err != nil {
		return err
	}
	if done, err = f.moved(ctx, it); !done && err == nil {
		err = f.lostRace(it)
	}
	return err
}

// moved tells whether the floating tag holds the image; that it holds anything but what was decided about is an error.
func (f *floatingTag) moved(ctx context.Context, it *item) (bool, error) {
	now, present, err := it.to.Lookup(ctx, f.tag)
	switch {
	case err != nil:
		return false, err
	case present && now.Digest == it.image.Digest:
		return true, nil
	case present != (f.held != nil) || present && now.Digest != f.held.Digest:
		return false, f.lostRace(it)
	}
	return false, nil
}

func (f *floatingTag) lostRace(it *item) error {
	return fault.WithHint(fault.At(it.to.Side(), fault.New(fault.Refused, "somebody else has written or removed it meanwhile")),
		"find out who else moves it, then start this step again: it decides anew")
}
