// Package recording is what the steps share about what they attach to images: the variables, and what it says of a run.
package recording

import (
	"net/url"
	"time"

	"dockline/pkg/step"
)

// Run is what a record says of the run that wrote it. No known secret is in it.
type Run struct {
	Person   string
	Pipeline string
	Time     time.Time
	Tool     string
}

// Run describes this run of a program, as of now.
func (r *Records) Run(rt *step.Runtime, program string) Run {
	return Run{
		Person:   rt.Masked(r.Person),
		Pipeline: rt.Masked(withoutAccount(r.PipelineURL)),
		Time:     time.Now().UTC().Truncate(time.Second),
		Tool:     "dockline " + program + " " + step.Version(),
	}
}

// withoutAccount takes an account, which a record is no place for, out of an address.
func withoutAccount(address string) string {
	parsed, err := url.Parse(address)
	if err != nil {
		return ""
	}
	parsed.User = nil
	return parsed.String()
}
