package promote

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"time"

	"dockline/pkg/step"
)

// writePlan finds out what a dry run tells people beside, and writes it where that is asked for: the plan, when all may be done as it says, and always the Markdown beside
// it, which also tells what may not.
func (p *promotion) writePlan(ctx context.Context, failure error) error {
	if failure == nil { // else the registries may not answer
		_ = each(ctx, p.items, parallelLookups, p.inspect) // which is for people alone
	}
	if p.config.PlanFile == "" {
		return nil
	}
	made := p.plan()
	for i, it := range p.items {
		made.Images[i].Revision, made.Images[i].Built, made.Images[i].Platforms = it.revision, it.built, it.platforms
	}
	problem := p.rt.WriteReport(p.config.markdownFile(), []byte(made.markdown(p.items, failure)))
	if failure != nil {
		return problem
	}
	content, err := made.encode(p.rt.Masked)
	if err != nil {
		return errors.Join(problem, err)
	}
	return errors.Join(problem, p.rt.WriteReport(p.config.PlanFile, content))
}

// plan returns the plan of what was decided.
func (p *promotion) plan() *plan {
	made := &plan{
		Format: planFormat, Version: planVersion, Tool: "promote " + step.Version(), Created: time.Now().UTC().Truncate(time.Second),
		Source: p.source.Address(), Target: p.target.Address(),
	}
	for _, it := range p.items {
		made.Images = append(made.Images, plannedImage{
			From: it.report.Source, To: it.report.Target, Digest: it.report.Digest, Promotion: it.report.Promotion,
			Replaced: it.report.Replaced, Backup: it.report.Backup, Reason: it.report.Reason, Floating: it.report.Floating,
		})
	}
	return made
}

// What a plan tells for people of what somebody else wrote: some hundred bytes are enough of each. A revision is a commit.
const longestLabel, mostNamedPlatforms = 200, 50

// inspect reads what people know an image by.
func (p *promotion) inspect(ctx context.Context, it *item) error {
	facts, err := it.from.Inspect(ctx, it.image)
	if err != nil {
		return nil //nolint:nilerr // what cannot be read is not told: the digest stands for it
	}
	it.revision = oneLine(facts.Revision(), longestLabel)
	for _, name := range facts.Platforms[:min(len(facts.Platforms), mostNamedPlatforms)] {
		it.platforms = append(it.platforms, oneLine(name, longestName))
	}
	if !facts.Created.IsZero() {
		it.built = facts.Created.UTC().Format("2006-01-02 15:04 MST")
	}
	return nil
}

// markdownFile returns where the plan is written for people: PLAN_FILE with another ending.
func (c *Config) markdownFile() string {
	return strings.TrimSuffix(c.PlanFile, filepath.Ext(c.PlanFile)) + ".md"
}

// Reports implements step.Reporter: a plan of an earlier dry run must not pass for this one's.
func (c *Config) Reports() []string {
	if !c.DryRun || c.PlanFile == "" {
		return nil
	}
	return []string{c.PlanFile, c.markdownFile()}
}
