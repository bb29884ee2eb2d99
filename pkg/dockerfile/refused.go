package dockerfile

import (
	"fmt"
	"sort"
	"strings"
)

// Refused is what Kaniko would build differently, in the order of lines.
type Refused []Finding

// Finding is one feature at one place.
type Finding struct {
	File    string
	Line    int
	Feature string // as it is written: "RUN --mount=type=tmpfs"
	Reason  string // what Kaniko would do, and what to write instead

	warning bool
}

// Error tells one finding: "Dockerfile:3: RUN --mount=type=tmpfs: REASON".
func (f Finding) Error() string {
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Feature, f.Reason)
}

// Error tells all findings in one line.
func (r Refused) Error() string {
	texts := make([]string, 0, len(r))
	for _, finding := range r {
		texts = append(texts, finding.Error())
	}
	return strings.Join(texts, "; ")
}

func (r Refused) sort() {
	sort.SliceStable(r, func(i, j int) bool { return r[i].Line < r[j].Line })
}
