package promote

import (
	"fmt"
	"io"
	"text/tabwriter"

	"dockline/pkg/step"
)

// imageReport is what REPORT_FILE says of one image.
type imageReport struct {
	Source    string            `json:"source"`
	Target    string            `json:"target"`
	Digest    string            `json:"digest,omitempty"`
	Promotion Promotion         `json:"promotion,omitempty"` // what was decided; done only if the run succeeded
	Replaced  string            `json:"replaced,omitempty"`  // digest of the image that the tag held
	Backup    string            `json:"backup,omitempty"`    // where that is kept
	Reason    string            `json:"reason,omitempty"`
	Signature string            `json:"signature,omitempty"` // by whom it is signed, where that was asked
	Floating  []*floatingReport `json:"floating,omitempty"`
	Blobs     int               `json:"blobs"`         // of the image, in all
	Present   int               `json:"present"`       // in the target already
	Mounted   int               `json:"mounted"`       // taken over inside the registry
	Bytes     int64             `json:"bytes"`         // sent
	Tag       tagState          `json:"tag,omitempty"` // what became of it when the set could not be promoted as a whole
	Error     string            `json:"error,omitempty"`
}

// setReport is what REPORT_FILE says of a set.
type setReport struct {
	Promotion Promotion      `json:"promotion,omitempty"` // of all, or "mixed"
	Images    []*imageReport `json:"images"`              // in the order in which they were given
}

// report returns the run's details for REPORT_FILE.
func (p *promotion) report() any {
	if !p.set {
		return p.items[0].report
	}
	set := setReport{Promotion: p.outcome()}
	for _, it := range p.items {
		set.Images = append(set.Images, &it.report)
	}
	return set
}

// summarize prints what a person wants to know in the end: of one image when it was promoted, of a set always, since
// the last line cannot tell how far each of its images came.
func (p *promotion) summarize(to io.Writer, failure error) {
	switch {
	case p.set:
		p.summarizeSet(to)
	case failure == nil:
		p.items[0].summarize(to)
	}
}

func (it *item) summarize(to io.Writer) {
	table := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			fmt.Fprintf(table, "%s\t%s\n", name, value)
		}
	}
	row("promotion", string(it.report.Promotion))
	row("from", it.report.Source)
	row("to", it.report.Target)
	row("digest", it.report.Digest)
	row("replaced", it.report.Replaced)
	row("kept as", it.report.Backup)
	row("reason", it.report.Reason)
	_ = table.Flush()
}

func (p *promotion) summarizeSet(to io.Writer) {
	table := step.NewTable(to)
	table.Row("IMAGE", "PROMOTION", "DIGEST", "SENT", "BLOBS", "PRESENT", "MOUNTED")
	for _, it := range p.items {
		promotion := string(it.promotion())
		if it.err != nil {
			promotion = "failed"
		}
		table.Row(it.name(), promotion, it.report.Digest, size(it.report.Bytes),
			fmt.Sprint(it.report.Blobs), fmt.Sprint(it.report.Present), fmt.Sprint(it.report.Mounted))
	}
	table.Flush()
}
