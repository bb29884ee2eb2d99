package promote

// imageReport is what REPORT_FILE says of one image.
type imageReport struct {
	Source    string            `json:"source"`
	Target    string            `json:"target"`
	Digest    string            `json:"digest,omitempty"`
	DryRun    bool              `json:"dry_run,omitempty"`   // nothing was done
	Promotion Promotion         `json:"promotion,omitempty"` // what was decided; done only if the run succeeded
	Replaced  string            `json:"replaced,omitempty"`  // digest of the image that the tag held
	Backup    string            `json:"backup,omitempty"`    // where that is kept
	Reason    string            `json:"reason,omitempty"`
	Signature string            `json:"signature,omitempty"` // by whom it is signed, where that was asked
	Record    string            `json:"record,omitempty"`    // HOST/NAME@DIGEST of the record that this run wrote
	Floating  []*floatingReport `json:"floating,omitempty"`
	Blobs     int               `json:"blobs"`         // of the image, in all
	Present   int               `json:"present"`       // in the target already
	Mounted   int               `json:"mounted"`       // taken over inside the registry
	Bytes     int64             `json:"bytes"`         // sent
	Attached  int               `json:"attached"`      // manifests of referrers and signatures that were attached
	Tag       tagState          `json:"tag,omitempty"` // what became of it when the set could not be promoted as a whole
	Error     string            `json:"error,omitempty"`
}

// setReport is what REPORT_FILE says of a set.
type setReport struct {
	DryRun    bool           `json:"dry_run,omitempty"`   // nothing was done
	Promotion Promotion      `json:"promotion,omitempty"` // of all, or "mixed"
	Images    []*imageReport `json:"images"`              // in the order in which they were given
}

// report returns the run's details for REPORT_FILE.
func (p *promotion) report() any {
	if !p.set {
		only := p.items[0].report
		only.DryRun = p.config.DryRun
		return only
	}
	set := setReport{DryRun: p.config.DryRun, Promotion: p.outcome()}
	for _, it := range p.items {
		set.Images = append(set.Images, &it.report)
	}
	return set
}
