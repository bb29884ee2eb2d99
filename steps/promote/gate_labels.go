package promote

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sync/errgroup"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// labelRule is one label that an image must carry.
type labelRule struct {
	key   string
	value *regexp.Regexp // nil for any value but an empty one
	text  string         // of value, as it was given
}

// readLabelRule reads KEY or KEY=VALUE, where * in VALUE stands for any text.
func readLabelRule(text string) labelRule {
	key, value, exact := strings.Cut(text, "=")
	rule := labelRule{key: strings.TrimSpace(key), text: value}
	if exact {
		rule.value = regexp.MustCompile("(?s)^" + strings.ReplaceAll(regexp.QuoteMeta(value), `\*`, ".*") + "$")
	}
	return rule
}

// check tells what is wrong with the labels, "" when nothing is.
func (r labelRule) check(labels map[string]string) string {
	value, there := labels[r.key]
	switch {
	case !there:
		return fmt.Sprintf("lacks the label %s", r.key)
	case r.value == nil && value == "":
		return fmt.Sprintf("has an empty label %s", r.key)
	case r.value != nil && !r.value.MatchString(value):
		return fmt.Sprintf("has %s=%.100q, and %q is wanted", r.key, value, r.text)
	}
	return ""
}

// gateLabels asks whether the image carries REQUIRE_LABELS on every platform.
func (p *promotion) gateLabels(ctx context.Context, it *item) error {
	if len(p.config.labels) == 0 {
		return nil
	}
	platforms, err := platformsOf(ctx, it.from, it.image, "", 0)
	if err != nil {
		return shut(ctx, it, "reading the labels", err)
	}
	if len(platforms) == 0 {
		return fault.At(it.from.Side(), fault.New(fault.Refused,
			"checking the labels of %q: it is of no platform, and labels are wanted", it.report.Source))
	}
	var problems []error
	for _, platform := range platforms {
		for _, rule := range p.config.labels {
			if problem := rule.check(platform.labels); problem != "" {
				problems = append(problems, fmt.Errorf("%s %s", platform.name, problem))
			}
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return fault.WithHint(fault.At(it.from.Side(), fault.New(fault.Refused,
		"checking the labels of %q: %w", it.report.Source, errors.Join(problems...))),
		"build the image with the labels that REQUIRE_LABELS names, and promote that one")
}

// platform is the image of one platform.
type platform struct {
	name   string // "linux/amd64", else the digest
	labels map[string]string
}

// deepestIndex is deeper than any index of indexes that a build makes.
const deepestIndex = 4

// platformsOf reads the labels of each platform's image. What builders list beside the platforms ("unknown/unknown":
// attestations) is none.
func platformsOf(ctx context.Context, in *registry.Repository, manifest registry.Manifest, name string, depth int) ([]platform, error) {
	if depth > deepestIndex {
		return nil, fault.New(fault.Refused, "reading index %q: it is deeper than %d", manifest.Digest, deepestIndex)
	}
	children := manifest.Children()
	if children == nil {
		facts, err := in.Inspect(ctx, manifest)
		if err != nil {
			return nil, err
		}
		if name == "" {
			name = strings.Join(append(facts.Platforms[:0:0], facts.Platforms...), ", ")
		}
		if name == "" {
			name = manifest.Digest.String()
		}
		return []platform{{name, facts.Labels}}, nil
	}
	all := make([][]platform, len(children))
	group, groupContext := errgroup.WithContext(ctx)
	group.SetLimit(parallelLookups)
	for i, child := range children {
		if child.Platform != nil && child.Platform.OS == "unknown" {
			continue
		}
		group.Go(func() (err error) {
			defer fault.Catch(&err)
			below, err := in.Manifest(groupContext, child.Digest)
			if err != nil {
				return err
			}
			all[i], err = platformsOf(groupContext, in, below, nameOf(child), depth+1)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var platforms []platform
	for _, some := range all {
		platforms = append(platforms, some...)
	}
	return platforms, nil
}

func nameOf(child v1.Descriptor) string {
	if child.Platform == nil {
		return ""
	}
	return child.Platform.String()
}
