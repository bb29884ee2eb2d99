package verify

import "fmt"

// checkRetagged finds a tag that somebody moved by hand.
func checkRetagged(report *Report) Check {
	check := Check{Name: "retagged", Expected: "retag pointed the tag at what it points at", Status: passed, Found: "at " + report.TaggedFrom}
	switch report.retagged {
	case report.TaggedFrom:
	case "":
		check.Status = failed
		check.Found = fmt.Sprintf("the tag was moved by hand: it points at %s, and retag's annotation is gone", report.TaggedFrom)
	default:
		check.Status = failed
		check.Found = fmt.Sprintf("the tag was moved by hand: it points at %s, and retag pointed it at %s", report.TaggedFrom, report.retagged)
	}
	return check
}
