package record_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/record"
)

// TestThePageShowsWhatIsWritten keeps docs/records.md equal to what the package makes.
func TestThePageShowsWhatIsWritten(t *testing.T) {
	t.Parallel()
	page := string(must(os.ReadFile("../../docs/records.md")))
	var shown []string
	for _, block := range strings.Split(page, "```json\n")[1:] {
		text, _, _ := strings.Cut(block, "```")
		shown = append(shown, text)
	}
	var made []string
	for _, r := range []record.Record{examplePromotion(), exampleVerification()} {
		var text bytes.Buffer
		if err := json.Indent(&text, must(r.Statement()), "", "  "); err != nil {
			t.Fatal(err)
		}
		made = append(made, text.String()+"\n")
	}
	if diff := cmp.Diff(made, shown); diff != "" {
		t.Errorf("docs/records.md (-made +shown):\n%s", diff)
	}
	for _, text := range []string{record.PromotionArtifact, record.VerificationArtifact, record.Left} {
		if !strings.Contains(page, "`"+text+"`") {
			t.Errorf("docs/records.md does not name %q", text)
		}
	}
}
