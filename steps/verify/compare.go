package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
	"dockline/pkg/step"
	"dockline/steps/environment"
)

// Relation is how an environment stands to another one.
type Relation string

const (
	same      Relation = "same"      // one image, an index and one of its images counting as one
	ahead     Relation = "ahead"     // a newer image than the other's
	behind    Relation = "behind"    // an older one
	different Relation = "different" // another one, and which is newer cannot be told
)

// allowed are the relations that each value of EXPECT_COMPARED is content with.
var allowed = map[string][]Relation{
	"same": {same}, "ahead": {ahead}, "behind": {behind},
	"same-or-ahead": {same, ahead}, "same-or-behind": {same, behind},
}

// Comparison is how the environment stands to another one, by what their tags mean.
type Comparison struct {
	With     string   `json:"with"` // NAMESPACE/STREAM:TAG
	Relation Relation `json:"relation"`
	Expected string   `json:"expected,omitempty"` // EXPECT_COMPARED
	Reason   string   `json:"reason"`             // what the relation follows from
	Here     Compared `json:"here"`
	There    Compared `json:"there"`
}

// Compared is one side: the image that the tag means, and what the image says of itself.
type Compared struct {
	Digest   string    `json:"digest"`
	Version  string    `json:"version,omitempty"`  // label org.opencontainers.image.version
	Revision string    `json:"revision,omitempty"` // label org.opencontainers.image.revision
	Built    time.Time `json:"built,omitzero"`

	children []string
}

// String tells a side on one line.
func (c Compared) String() string {
	text := environment.Short(c.Digest)
	if c.Version != "" {
		text += ", version " + c.Version
	}
	if c.Revision != "" {
		text += ", revision " + c.Revision
	}
	if !c.Built.IsZero() {
		text += ", built " + c.Built.Format(time.RFC3339)
	}
	return text
}

// checkCompared looks at the environment COMPARE_WITH, and at how this one stands to it. That the other one, or which of
// two images is newer, cannot be told is an error wherever a verdict hangs on it, and never "same".
func (r *run) checkCompared(ctx context.Context, report *Report) (Check, error) {
	here := Compared{Digest: report.Digest, Version: report.Version, Revision: report.Revision, Built: report.created, children: report.children}
	check := Check{Name: "compared", Expected: "the environment can be compared with " + r.CompareWith, Status: skipped}
	if r.ExpectCompared != "" {
		check.Expected = r.ExpectCompared + ", compared with " + r.CompareWith
	}
	there, err := r.other(ctx)
	if err != nil {
		return check, fmt.Errorf("comparing with %s: %w", r.CompareWith, err)
	}
	if here.Digest == "" {
		check.Found = fmt.Sprintf("%s has no image, and %s is %s", r.StreamTag, r.CompareWith, there)
		if r.ExpectCompared != "" {
			check.Status = failed
		}
		return check, nil
	}
	relation, reason := relate(here, there)
	report.Compared = &Comparison{
		With: r.CompareWith, Relation: relation, Expected: r.ExpectCompared, Reason: reason, Here: here, There: there,
	}
	check.Found = fmt.Sprintf("%s (%s): here %s; there %s", relation, reason, here, there)
	switch wanted := allowed[r.ExpectCompared]; {
	case r.ExpectCompared == "":
	case slices.Contains(wanted, relation):
		check.Status = passed
	case relation == different && r.ExpectCompared != "same":
		return check, fault.At(cluster.Side, fault.WithHint(
			fault.New(fault.Unavailable, "comparing with %s: the images differ, and which is newer cannot be told (%s): here %s; there %s",
				r.CompareWith, reason, here, there),
			"Images are ordered by their versions and by when they were built: see docs/verify.md."))
	default:
		check.Status = failed
	}
	return check, nil
}

// other reads what COMPARE_WITH means. An import that failed, or is not finished, leaves open what it will mean.
func (r *run) other(ctx context.Context) (Compared, error) {
	if r.otherEnv == nil { // the first look: those that follow go by the same connections
		namespace, streamTag, _ := strings.Cut(r.CompareWith, "/")
		var err error
		r.otherEnv, err = environment.Open(r.rt, r.Cluster, cluster.Patience{}, environment.Settings{Namespace: namespace, StreamTag: streamTag})
		if err != nil {
			return Compared{}, err
		}
	}
	env := r.otherEnv
	stream, err := env.Streams.Get(ctx, env.Name.Stream)
	if err != nil {
		return Compared{}, err
	}
	tag, found := stream.Tag(env.Name.Tag)
	switch {
	case !found:
		return Compared{}, fault.At(cluster.Side, fault.New(fault.NotFound, "the stream has no tag %q", env.Name.Tag))
	case tag.Failure != nil:
		return Compared{}, fault.At(cluster.Side, fault.New(fault.Unavailable,
			"what it is to run cannot be told: its import failed (%s): %s", tag.Failure.Reason, tag.Failure.Message))
	case !tag.Settled():
		return Compared{}, fault.At(cluster.Side, fault.New(fault.Unavailable,
			"what it is to run cannot be told: its import of %s is not finished", tag.From.Name))
	case tag.Digest() == "":
		return Compared{}, fault.At(cluster.Side, fault.New(fault.NotFound, "it has no image"))
	}
	known, err := env.Streams.Image(ctx, env.Name.Stream, tag.Digest())
	if err != nil && fault.KindOf(err) != fault.NotFound { // a pruned image has a digest still
		return Compared{}, err
	}
	return Compared{
		Digest:  tag.Digest(),
		Version: known.Labels["org.opencontainers.image.version"], Revision: known.Labels["org.opencontainers.image.revision"],
		Built: built(known), children: known.Children,
	}, nil
}

// relate orders two images by their versions (Semantic Versioning) and by when they were built. Where both say something
// they must agree: a patch of an old version is newer than the new one, and not ahead of it.
func relate(here, there Compared) (Relation, string) {
	switch {
	case here.Digest == there.Digest:
		return same, "one digest"
	case slices.Contains(there.children, here.Digest) || slices.Contains(here.children, there.Digest):
		return same, "one is an image of the other, an index"
	}
	byVersion, byTime := 0, 0
	if a, ok := image.ParseSemantic(here.Version); ok {
		if b, ok := image.ParseSemantic(there.Version); ok {
			byVersion = a.Compare(b)
		}
	}
	if !here.Built.IsZero() && !there.Built.IsZero() {
		byTime = here.Built.Compare(there.Built)
	}
	switch {
	case byVersion == 0 && byTime == 0:
		return different, "neither their versions nor the times of their building tell which is newer"
	case byVersion*byTime < 0:
		return different, "their versions say one thing, the times of their building another"
	case byVersion == 0:
		return ordered(byTime), "by when they were built"
	case byTime == 0:
		return ordered(byVersion), "by their versions"
	}
	return ordered(byVersion), "by their versions and when they were built"
}

func ordered(order int) Relation {
	if order > 0 {
		return ahead
	}
	return behind
}

// built returns when an image was built, zero where it does not say: builds that leave time out write the beginning of
// 1970 or of 1980.
func built(known imagestream.Pull) time.Time {
	label, _ := time.Parse(time.RFC3339, known.Labels["org.opencontainers.image.created"])
	for _, at := range []time.Time{known.Created, label} {
		if at.Year() > 1980 {
			return at.UTC()
		}
	}
	return time.Time{}
}

// validateCompared returns what is wrong with COMPARE_WITH and EXPECT_COMPARED.
func (c *Config) validateCompared() error {
	if c.ExpectCompared != "" {
		if _, known := allowed[c.ExpectCompared]; !known {
			return step.Problem("EXPECT_COMPARED: %q is none of same, ahead, behind, same-or-ahead and same-or-behind", c.ExpectCompared)
		}
		if c.CompareWith == "" {
			return step.Problem("COMPARE_WITH is missing: EXPECT_COMPARED is set")
		}
	}
	if c.CompareWith == "" {
		return nil
	}
	namespace, streamTag, found := strings.Cut(c.CompareWith, "/")
	_, err := imagestream.ParseName(streamTag)
	problem := environment.Settings{Namespace: namespace, StreamTag: streamTag}.Validate()
	switch {
	case !found || namespace == "" || streamTag == "":
		return step.Problem("COMPARE_WITH: %q is no environment: NAMESPACE/STREAM:TAG is wanted, such as prod/hello-app:prod", c.CompareWith)
	case cmp.Or(err, problem) != nil:
		return step.Problem("COMPARE_WITH: %w", cmp.Or(err, problem))
	}
	return nil
}
