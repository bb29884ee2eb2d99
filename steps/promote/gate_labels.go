package promote

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"dockline/pkg/fault"
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
	platforms, problems, err := judgePlatforms(ctx, it.from, it.image, func(one platform) []error {
		var problems []error
		for _, rule := range p.config.labels {
			if problem := rule.check(one.labels); problem != "" {
				problems = append(problems, fmt.Errorf("%s %s", one.name, problem))
			}
		}
		return problems
	})
	if err != nil {
		return shut(ctx, it, "reading the labels", err)
	}
	if platforms == 0 {
		return fault.At(it.from.Side(), fault.New(fault.Refused,
			"checking the labels of %q: it is of no platform, and labels are wanted", it.report.Source))
	}
	if len(problems) == 0 {
		return nil
	}
	return fault.WithHint(fault.At(it.from.Side(), fault.New(fault.Refused,
		"checking the labels of %q: %w", it.report.Source, some(problems))),
		"build the image with the labels that REQUIRE_LABELS names, and promote that one")
}
