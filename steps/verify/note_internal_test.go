package verify

import (
	"strings"
	"testing"
	"time"

	"dockline/pkg/workload"
)

func TestCode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                            "(nothing)",
		"plain":                       "`plain`",
		"a`b":                         "`` a`b ``",
		"```\n# heading\n```":         "```` ``` # heading ``` ````",
		"two\r\n\r\n\tlines\u2028end": "`two lines end`",
		"<script>|@all #1 ![x](y)":    "`<script>|@all #1 ![x](y)`",
		"abc\u202edcb\u200b\x1b[31m":  "`abcdcb[31m`",
		"\xff\xfe":                    "`\uFFFD\uFFFD`",
	} {
		if got := code(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

// TestNoteOfHostileText has every text from elsewhere try to leave its line or its code span.
func TestNoteOfHostileText(t *testing.T) {
	t.Parallel()
	const bad = "x`\n\n# owned <img src=x> [a](javascript:b) @all\n```"
	note := string(Report{
		Verdict: unknown, Namespace: "dev", StreamTag: "a:b", Time: time.Unix(0, 0).UTC(), Error: bad, TaggedFrom: bad,
		Digest: bad, Version: bad, Revision: bad, Record: bad, Loose: []string{bad},
		History:   []HistoryItem{{Reference: bad}},
		Checks:    []Check{{Name: "page", Status: failed, Expected: bad, Found: bad}},
		Compared:  &Comparison{With: bad, Relation: different, Here: Compared{Version: bad}, There: Compared{Revision: bad}},
		Workloads: []workload.Follower{{Workload: bad, Message: bad, Pods: []workload.Pod{{Name: bad, Trouble: bad}}}},
	}.note())
	shown := 0
	for line := range strings.Lines(note) {
		if strings.HasPrefix(line, "# owned") {
			t.Errorf("a text got a line of its own: %q", line)
		}
		// Between fences of four backticks, which the text does not hold, nothing is markup.
		for i, part := range strings.Split(line, "````") {
			if i%2 == 1 {
				shown++
			} else if strings.ContainsAny(part, "<[@") {
				t.Errorf("text outside of a code span: %q", line)
			}
		}
	}
	if shown != 17 {
		t.Errorf("%d texts are shown, want 17:\n%s", shown, note)
	}
}
