package promote

import (
	"fmt"
	"strings"

	"dockline/pkg/fault"
)

// follow compares what was decided with the plan that is to be carried out. A plan gives no permission, it takes some
// away: nothing but what it says is done. What it says and was done already, by a run that was broken off, is fine.
func (p *promotion) follow(plan *plan) error {
	p.rt.Log.Info().Time("created", plan.Created).Msgf("carrying out the plan %s", p.config.PlanFile)
	var differences []string
	differ := func(what, planned, now string) {
		if planned != now {
			differences = append(differences, fmt.Sprintf("%s: planned %s, now %s", what, quoted(planned), quoted(now)))
		}
	}
	differ("SOURCE_REGISTRY", plan.Source, p.source.Address())
	differ("TARGET_REGISTRY", plan.Target, p.target.Address())
	planned := map[string]plannedImage{}
	for _, one := range plan.Images {
		planned[one.To] = one
	}
	for _, it := range p.items {
		one, there := planned[it.report.Target]
		delete(planned, it.report.Target)
		if !there {
			differences = append(differences, fmt.Sprintf("%q is not in the plan", it.report.Target))
			continue
		}
		it.compare(one, differ)
	}
	for _, one := range plan.Images {
		if _, left := planned[one.To]; left {
			differences = append(differences, fmt.Sprintf("%q is planned, and was not asked for", one.To))
		}
	}
	if len(differences) == 0 {
		return nil
	}
	told := strings.Join(differences[:min(len(differences), mostProblems)], "; ")
	if more := len(differences) - mostProblems; more > 0 {
		told += fmt.Sprintf("; and %d more differences", more)
	}
	return fault.WithHint(fault.New(fault.Refused, "carrying out the plan: not all is as it was planned: %s", told),
		"look at what has changed, then make a new plan with DRY_RUN=true; nothing was written")
}

// compare tells in what an item differs from its plan.
func (it *item) compare(planned plannedImage, differ func(what, planned, now string)) {
	target := it.report.Target
	differ(target+": image", planned.Digest, it.report.Digest)
	if it.promotion() != Same || planned.Promotion == Same {
		differ(target+": source", planned.From, it.report.Source)
		differ(target+": promotion", string(planned.Promotion), string(it.promotion()))
		differ(target+": replaced image", planned.Replaced, it.report.Replaced)
		differ(target+": backup", planned.Backup, it.report.Backup)
		differ(target+": reason", planned.Reason, it.report.Reason)
	}
	floating := map[string]*floatingReport{}
	for _, one := range planned.Floating {
		floating[one.Tag] = one
	}
	for _, now := range it.report.Floating {
		one := floating[now.Tag]
		delete(floating, now.Tag)
		switch {
		case one == nil:
			differ(now.Tag, "", string(now.State))
		case now.State != floatSame:
			differ(now.Tag, string(one.State), string(now.State))
			differ(now.Tag+": replaced image", one.Replaced, now.Replaced)
		}
	}
	for _, one := range planned.Floating {
		if floating[one.Tag] != nil {
			differ(one.Tag, string(one.State), "")
		}
	}
}

// quoted shows a value of a plan, which anybody may have written.
func quoted(value string) string {
	if value == "" {
		return "none"
	}
	if len(value) > 200 {
		value = value[:200] + "…"
	}
	return fmt.Sprintf("%q", value)
}
