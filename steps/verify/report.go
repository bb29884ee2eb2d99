package verify

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"html/template"
	"io"
	"path/filepath"
	"strings"
	"time"

	"dockline/pkg/step"
	"dockline/pkg/workload"
	"dockline/steps/environment"
)

// Report is all that verify found.
type Report struct {
	Verdict      string              `json:"verdict"`
	Namespace    string              `json:"namespace"`
	StreamTag    string              `json:"streamTag,omitempty"`
	Named        string              `json:"named,omitempty"` // WORKLOADS instead of a stream tag
	Time         time.Time           `json:"time"`
	ExpectImage  string              `json:"expectImage,omitempty"`
	ExpectDigest string              `json:"expectDigest,omitempty"`
	URL          string              `json:"url,omitempty"`
	Error        string              `json:"error,omitempty"`
	TaggedFrom   string              `json:"taggedFrom,omitempty"`
	Digest       string              `json:"digest,omitempty"`
	Version      string              `json:"version,omitempty"`
	Revision     string              `json:"revision,omitempty"`
	Scheduled    bool                `json:"scheduled"`
	ImportMode   string              `json:"importMode,omitempty"`
	ImportError  *ImportError        `json:"importError,omitempty"`
	History      []HistoryItem       `json:"history"`
	Workloads    []workload.Follower `json:"workloads"`
	Loose        []string            `json:"withoutTrigger,omitempty"`
	Checks       []Check             `json:"checks"`
	Compared     *Comparison         `json:"compared,omitempty"`  // with COMPARE_WITH
	Promotion    *Promotion          `json:"promotion,omitempty"` // as its record has it
	Record       string              `json:"record,omitempty"`    // HOST/NAME@DIGEST of the record of the verdict that this run wrote

	hint     string // what to do about a finding; empty means to look at the report
	settled  bool
	retagged string // what retag pointed the tag at; empty where the tag does not say
	children []string
	created  time.Time // when the image was built; zero where it does not say
}

// Name returns the stream tag, or the workloads.
func (r Report) Name() string { return cmp.Or(r.StreamTag, r.Named) }

// Origin says what TaggedFrom is.
func (r Report) Origin() string {
	if r.Named != "" {
		return "set from"
	}
	return "tagged from"
}

// ImportError is why the latest import failed, in the cluster's words.
type ImportError struct {
	Reason  string    `json:"reason"`
	Message string    `json:"message"`
	Since   time.Time `json:"since"`
}

// HistoryItem is one image that the tag has meant, newest first.
type HistoryItem struct {
	Digest    string    `json:"digest"`
	Reference string    `json:"reference"`
	Since     time.Time `json:"since"`
}

// Check is one thing that was looked at.
type Check struct {
	Name     string `json:"name"`
	Status   Status `json:"status"`
	Expected string `json:"expected"`
	Found    string `json:"found"`
}

// Status is how a check ended.
type Status string

const (
	passed  Status = "ok"
	failed  Status = "wrong"
	skipped Status = "nothing to check"
)

// table tells a person what was found.
func (r Report) table(to io.Writer) {
	table := step.NewTable(to)
	row := table.Row
	row("environment", r.Namespace+"/"+r.Name())
	if r.TaggedFrom != "" {
		tagged := r.TaggedFrom
		if r.Scheduled {
			tagged += " (imported anew from time to time)"
		}
		row(r.Origin(), tagged)
	}
	if r.Digest != "" {
		row("image", r.Digest)
	}
	if r.Version != "" || r.Revision != "" {
		row("built as", strings.TrimSpace(r.Version+" "+r.Revision))
	}
	if r.Promotion != nil {
		row("promoted", r.Promotion.String())
	}
	for i, item := range r.History {
		name := ""
		if i == 0 {
			name = "history"
		}
		row(name, item.Reference, environment.Age(item.Since, r.Time))
	}
	for _, loose := range r.Loose {
		row("no image trigger", loose)
	}
	table.Flush() // the checks have columns of their own
	for _, check := range r.Checks {
		row(check.Name, string(check.Status), check.Found)
	}
	if r.Record != "" {
		row("record", r.Record)
	}
	row("verdict", r.Verdict)
	table.Flush()
}

// The reports: for programs, for CI systems (JUnit), and for people.
const (
	jsonReport  = "verify.json"
	junitReport = "verify.xml"
	pageReport  = "verify.html"
	noteReport  = "verify.md"
)

// Reports implements step.Reporter.
func (c *Config) Reports() []string {
	if c.ReportDir == "" {
		return nil
	}
	return []string{
		filepath.Join(c.ReportDir, jsonReport), filepath.Join(c.ReportDir, junitReport), filepath.Join(c.ReportDir, pageReport),
		filepath.Join(c.ReportDir, noteReport),
	}
}

// write writes the reports into a folder.
func (r Report) write(rt *step.Runtime, dir string) error {
	document, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	page, err := r.page()
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	junit, err := r.junit()
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return errors.Join(
		rt.WriteReport(filepath.Join(dir, jsonReport), append(document, '\n')),
		rt.WriteReport(filepath.Join(dir, junitReport), junit),
		rt.WriteReport(filepath.Join(dir, pageReport), page),
		rt.WriteReport(filepath.Join(dir, noteReport), r.note()),
	)
}

//go:embed page.html
var pageSource string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"age": func(t, now time.Time) string { return environment.Age(t, now) }, "short": environment.Short,
}).Parse(pageSource))

func (r Report) page() ([]byte, error) {
	var page bytes.Buffer
	err := pageTemplate.Execute(&page, r)
	return page.Bytes(), err
}

// junit returns the checks as GitLab and Jenkins show test results.
func (r Report) junit() ([]byte, error) {
	type message struct {
		Message string `xml:"message,attr"`
	}
	type testcase struct {
		Name    string   `xml:"name,attr"`
		Class   string   `xml:"classname,attr"`
		Failure *message `xml:"failure,omitempty"`
		Error   *message `xml:"error,omitempty"`
		Skipped *message `xml:"skipped,omitempty"`
	}
	suite := struct {
		XMLName  xml.Name   `xml:"testsuite"`
		Name     string     `xml:"name,attr"`
		Tests    int        `xml:"tests,attr"`
		Failures int        `xml:"failures,attr"`
		Errors   int        `xml:"errors,attr"`
		Skipped  int        `xml:"skipped,attr"`
		Time     string     `xml:"timestamp,attr"`
		Cases    []testcase `xml:"testcase"`
	}{Name: "verify " + r.Namespace + "/" + r.Name(), Time: r.Time.Format("2006-01-02T15:04:05")}
	for _, check := range r.Checks {
		one := testcase{Name: check.Name, Class: r.Namespace + "." + r.Name()}
		switch check.Status {
		case failed:
			one.Failure = &message{check.Found}
			suite.Failures++
		case skipped:
			one.Skipped = &message{check.Found}
			suite.Skipped++
		}
		suite.Cases = append(suite.Cases, one)
	}
	if r.Error != "" && suite.Failures == 0 {
		suite.Errors++
		suite.Cases = append(suite.Cases, testcase{Name: "verify", Class: r.Namespace + "." + r.Name(), Error: &message{r.Error}})
	}
	suite.Tests = len(suite.Cases)
	document, err := xml.MarshalIndent(suite, "", "  ")
	return append([]byte(xml.Header), append(document, '\n')...), err
}
