package promote

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"dockline/pkg/step"
)

// summarize prints what a person wants to know in the end: of one image when it was promoted, of a set always, since
// the last line cannot tell how far each of its images came.
func (p *promotion) summarize(to io.Writer, failure error) {
	switch {
	case p.set:
		p.summarizeSet(to, failure)
	case failure == nil:
		p.items[0].summarize(to, p.config.DryRun)
	}
}

func (it *item) summarize(to io.Writer, dryRun bool) {
	table := step.NewTable(to)
	row := func(name, value string) {
		if value != "" {
			table.Row(name, value)
		}
	}
	promotion := string(it.report.Promotion)
	if dryRun {
		promotion += " (dry run: nothing was written)"
	}
	row("promotion", promotion)
	row("from", it.report.Source)
	row("to", it.report.Target)
	row("digest", it.report.Digest)
	row("replaced", it.report.Replaced)
	row("kept as", it.report.Backup)
	row("reason", it.report.Reason)
	row("record", it.report.Record)
	for _, one := range it.report.Floating {
		row("floating", one.words())
	}
	table.Flush()
}

// words says what becomes of a floating tag, such as "HOST/NAME:latest moved from 1.0".
func (f *floatingReport) words() string {
	switch {
	case f.State == floatMoved && f.Version != "":
		return f.Tag + " moved from " + f.Version
	case f.State == floatKept && f.Version != "":
		return f.Tag + " kept, holds the newer " + f.Version
	}
	return f.Tag + " " + string(f.State)
}

// summarizeSet prints one row an image.
func (p *promotion) summarizeSet(to io.Writer, failure error) {
	head := step.NewTable(to)
	head.Row("from", p.source.Address())
	head.Row("to", p.target.Address())
	head.Flush()
	table := step.NewTable(to)
	columns := []string{"IMAGE", "FROM", "TO", "PROMOTION", "DIGEST", "SENT", "BLOBS", "PRESENT", "MOUNTED"}
	if p.config.DryRun {
		columns = append(columns[:5], "REVISION", "BUILT")
	}
	table.Row(columns...)
	count := map[string]int{}
	for _, it := range p.items {
		state := it.state(failure != nil && !p.config.DryRun)
		count[state]++
		cells := []string{it.order.image.Name, short(it.wanted), it.tag, state, short(it.report.Digest)}
		if p.config.DryRun {
			cells = append(cells, cmp.Or(short(it.revision), "-"), cmp.Or(it.built, "-"))
		} else {
			cells = append(cells, size(it.report.Bytes), fmt.Sprint(it.report.Blobs), fmt.Sprint(it.report.Present), fmt.Sprint(it.report.Mounted))
		}
		table.Row(cells...)
	}
	table.Flush()
	var sums []string
	for _, state := range slices.Sorted(maps.Keys(count)) {
		sums = append(sums, fmt.Sprintf("%d %s", count[state], state))
	}
	fmt.Fprintf(to, "%s: %s", images(len(p.items)), strings.Join(sums, ", "))
	if p.config.DryRun {
		fmt.Fprint(to, " (dry run: nothing was written)")
	}
	fmt.Fprintln(to)
}

// state is what a table says of an item: what was decided, unless that came to nothing.
func (it *item) state(failed bool) string {
	switch {
	case it.report.Tag != "":
		return string(it.report.Tag)
	case it.err != nil:
		return "failed"
	case failed && it.promotion() != Same && !it.tried && !it.there:
		return "not done"
	}
	return cmp.Or(string(it.promotion()), "undecided")
}

// short returns a digest's or a commit's first characters; the report has them whole.
func short(text string) string {
	if algorithm, hex, ok := strings.Cut(text, ":"); ok {
		return algorithm + ":" + hex[:min(len(hex), 12)]
	}
	return text[:min(len(text), 40)]
}
