package verify

import (
	"fmt"
	"strings"
	"time"
	"unicode"

	"dockline/steps/environment"
)

// note returns the report in Markdown, for a merge request, a release or a chat. All that comes from elsewhere is put in
// code spans, where nothing is markup, a link or a mention of a person; and in lists, since a table would need "|"
// escaped in ways that renderers do not agree on.
func (r Report) note() []byte {
	var note strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&note, format+"\n", args...) }
	field := func(name, value string) {
		if value != "" {
			say("- %s: %s", name, code(value))
		}
	}
	said := map[string]string{right: "runs the right image", wrong: "is not right", described: "as it is now"}[r.Verdict]
	if said == "" {
		said = "could not be judged"
	}
	say("# %s: %s\n", code(r.Namespace+"/"+r.StreamTag), said)
	field("tagged from", r.TaggedFrom)
	field("image", r.Digest)
	field("version", r.Version)
	field("Git revision", r.Revision)
	if r.Promotion != nil {
		field("promoted", r.Promotion.String())
	}
	field("record", r.Record)
	say("- looked at: %s", r.Time.Format(time.RFC3339))
	if r.Error != "" && r.Verdict != wrong {
		field("error", r.Error)
	}
	if len(r.Checks) > 0 {
		say("\n## What was checked\n")
	}
	for _, check := range r.Checks {
		say("- **%s**: %s", check.Name, check.Status)
		say("  - found: %s", code(check.Found))
		say("  - expected: %s", code(check.Expected))
	}
	if c := r.Compared; c != nil {
		say("\n## Compared with %s: %s\n", code(c.With), c.Relation)
		field("here", c.Here.String())
		field("there", c.There.String())
	}
	if len(r.Workloads) > 0 {
		say("\n## What runs\n")
	}
	for _, follower := range r.Workloads {
		say("- %s: %s", code(follower.Workload), code(string(follower.Phase)+", "+follower.Message))
		for _, pod := range follower.Pods {
			say("  - %s: %s", code(pod.Name), code(environment.OrNothing(environment.Short(pod.Digest))+trouble(pod)))
		}
	}
	for _, loose := range r.Loose {
		say("- without an image trigger: %s", code(loose))
	}
	if len(r.History) > 0 {
		say("\n## History\n")
	}
	for _, item := range r.History {
		say("- %s, %s", code(item.Reference), environment.Age(item.Since, r.Time))
	}
	return []byte(note.String())
}

// code returns text as a code span of one line: between more backticks than it holds in a row (CommonMark 6.1), without
// characters that are not seen or that turn the writing's direction.
func code(text string) string {
	text = strings.Map(func(c rune) rune {
		switch {
		case unicode.IsSpace(c):
			return ' '
		case !unicode.IsPrint(c):
			return -1
		}
		return c
	}, text)
	text = strings.Join(strings.Fields(text), " ")
	longest, row := 0, 0
	for _, c := range text {
		if c != '`' {
			row = 0
			continue
		}
		row++
		longest = max(longest, row)
	}
	fence := strings.Repeat("`", longest+1)
	if longest > 0 {
		text = " " + text + " " // a span may neither begin nor end with a backtick; one blank on each side is not shown
	}
	if text == "" {
		return "(nothing)"
	}
	return fence + text + fence
}
