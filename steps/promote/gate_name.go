package promote

import (
	"context"

	"dockline/pkg/fault"
	"dockline/pkg/image"
)

// gateName asks whether the image's name follows NAMING_TEMPLATE.
func (p *promotion) gateName(_ context.Context, it *item) error {
	if p.config.NamingTemplate == "" {
		return nil
	}
	name := it.order.image.Name
	closest, fits := image.NamePattern(p.config.NamingTemplate).Fit(name)
	if fits {
		return nil
	}
	expected := ""
	if closest != p.config.NamingTemplate {
		expected = ", which would be " + closest
	}
	return fault.WithHint(
		fault.New(fault.Refused, "checking the name %q: it does not follow %q%s", name, p.config.NamingTemplate, expected),
		"build the image under a name that follows the rule, or change NAMING_TEMPLATE")
}
