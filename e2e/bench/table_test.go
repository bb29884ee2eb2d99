package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func of(seconds ...float64) []sample {
	var samples []sample
	for _, one := range seconds {
		samples = append(samples, sample{Seconds: one, PeakMB: 20})
	}
	return samples
}

func TestATableJudgesByTheFastestOfTheSameRound(t *testing.T) {
	t.Parallel()
	judged := row{
		tools: []tool{{name: "promote", program: "promote"}, {name: "slow"}, {name: "quick"}},
		goals: []goal{{"promote", 0.5, []string{"slow", "quick"}, 0}},
	}
	for _, row := range []struct {
		description string
		promote     []sample
		missed      int
		text        string
	}{
		{"met", of(1, 1, 2), 0, "met    promote: 0.50 x quick (quartiles 0.50 .. 0.50), goal 0.50"},
		{"missed", of(2, 2, 4), 1, "MISSED promote: 1.00 x quick (quartiles 1.00 .. 1.00), goal 0.50"},
	} {
		var out strings.Builder
		missed := judged.print(&out, map[string][]sample{"promote": row.promote, "slow": of(9, 9, 9), "quick": of(2, 2, 4)})
		if missed != row.missed || !strings.Contains(out.String(), row.text+"\n") {
			t.Errorf("%s: %d missed, want %d with %q:\n%s", row.description, missed, row.missed, row.text, out.String())
		}
	}
}

func TestATableJudgesThePeaks(t *testing.T) {
	t.Parallel()
	judged := row{tools: []tool{{name: "step"}, {name: "other"}}, goals: []goal{{"step", 9, []string{"other"}, 1.1}}}
	for peak, text := range map[float64]string{21: "met    step: peak 1.05 x other, goal 1.10", 30: "MISSED step: peak 1.50 x other, goal 1.10"} {
		var out strings.Builder
		missed := judged.print(&out, map[string][]sample{"step": {{1, 5}, {1, peak}}, "other": of(1, 1)})
		if (missed > 0) != strings.HasPrefix(text, "MISSED") || !strings.Contains(out.String(), text+"\n") {
			t.Errorf("%d missed, want %q:\n%s", missed, text, out.String())
		}
	}
}

func TestQuantile(t *testing.T) {
	t.Parallel()
	got := []float64{quantile([]float64{3, 1, 2}, 0.5), quantile([]float64{1, 2, 3, 4}, 0.25), quantile([]float64{7}, 1), quantile(nil, 0.5)}
	if diff := cmp.Diff([]float64{2, 1.75, 7, 0}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestRowsAreChosenByName(t *testing.T) {
	t.Parallel()
	chosen, err := choose([]string{"build", "small"})
	if err != nil || len(chosen) != 2 || chosen[0].name != "build" {
		t.Errorf("%v, %v", chosen, err)
	}
	if _, err := choose([]string{"smell"}); err == nil {
		t.Error("a row that is not there was chosen")
	}
}

func TestEveryToolHasACommand(t *testing.T) {
	t.Parallel()
	programs := map[string]string{"promote": "/p", "crane": "/c", "regctl": "/r", "oras": "/o", "skopeo": "/s"}
	for _, one := range rows {
		for _, tool := range one.tools {
			command, environment, err := tool.command(programs, task{source: "s:1", target: "t:1", images: []string{"a/b:1"}, home: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			said := strings.Join(append(command, environment...), " ")
			if !strings.Contains(said, "s:1") || !strings.Contains(said, "t:1") || !strings.Contains(said, "a/b:1") && tool.each != parallel {
				t.Errorf("%s, %s: %q", one.name, tool.name, said)
			}
		}
	}
}
