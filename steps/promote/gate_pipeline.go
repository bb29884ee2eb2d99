package promote

import (
	"context"

	"dockline/pkg/fault"
)

// gatePipeline asks what holds for the run as a whole: no freeze, and a protected branch or tag where that is wanted. A
// set hears of it once, for its first image.
func (p *promotion) gatePipeline(_ context.Context, it *item) error {
	if it != p.items[0] {
		return nil
	}
	if p.config.DeployFreeze {
		return fault.WithHint(fault.New(fault.Refused, "promoting to %q: deployments are frozen (DEPLOY_FREEZE)", it.report.Target),
			"wait until the freeze ends; what cannot wait is promoted with DEPLOY_FREEZE=false")
	}
	if p.config.RequireProtectedRef && !p.config.ProtectedRef {
		return fault.WithHint(fault.New(fault.Refused,
			"promoting to %q: the pipeline's branch or tag is not known to be protected (PROTECTED_REF)", it.report.Target),
			"start the job from a protected branch or tag")
	}
	return nil
}
