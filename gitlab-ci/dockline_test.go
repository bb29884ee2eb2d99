// Package gitlabci tests the shipped pipeline against the steps and against what its page says.
package gitlabci

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"dockline/pkg/step"
	"dockline/steps/clonebuildpush"
	"dockline/steps/promote"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

type input struct {
	Description string `json:"description"`
	Default     any    `json:"default"`
	Type        string `json:"type"`
}

type job struct {
	Extends   any            `json:"extends"`
	Script    []string       `json:"script"`
	Variables map[string]any `json:"variables"`
	Needs     []any          `json:"needs"` // a job's name, or {job: NAME}
	Artifacts struct {
		When    string
		Reports struct{ Dotenv, Junit string }
	} `json:"artifacts"`
}

// read reads the two documents of the pipeline.
func read(t *testing.T) (inputs map[string]input, jobs map[string]job, text string) {
	t.Helper()
	content, err := os.ReadFile("dockline.yml")
	if err != nil {
		t.Fatal(err)
	}
	head, body, found := bytes.Cut(content, []byte("\n---\n"))
	if !found {
		t.Fatal("there is no second document")
	}
	var spec struct {
		Spec struct{ Inputs map[string]input }
	}
	if err := yaml.UnmarshalStrict(head, &spec); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(body, &jobs); err != nil {
		t.Fatal(err)
	}
	return spec.Spec.Inputs, jobs, string(body)
}

var programs = map[string]step.Program{
	"clone-build-push": clonebuildpush.Program(), "promote": promote.Program(), "retag": retag.Program(), "verify": verify.Program(),
}

// steps are the programs that the job's script runs: a line ends in a program's name, and may begin with assignments.
func (j job) steps() []step.Program {
	var found []step.Program
	for _, line := range j.Script {
		words := strings.Fields(line)
		if program, known := programs[words[len(words)-1]]; known {
			found = append(found, program)
		}
	}
	return found
}

// needed is the name of a job that another takes artifacts from, or "".
func needed(need any) string {
	if options, ok := need.(map[string]any); ok {
		if options["artifacts"] == false {
			return ""
		}
		return fmt.Sprint(options["job"])
	}
	return fmt.Sprint(need)
}

// handsOn says whether the job's dotenv report holds a result: that of its last step.
func (j job) handsOn(result string) bool {
	steps := j.steps()
	return len(steps) > 0 && slices.Contains(steps[len(steps)-1].Results, result)
}

// TestVariablesAreThoseOfTheSteps has each job set only variables that its step reads, or GitLab.
func TestVariablesAreThoseOfTheSteps(t *testing.T) {
	t.Parallel()
	_, jobs, _ := read(t)
	steps := 0
	for name, job := range jobs {
		if strings.HasPrefix(name, ".") {
			continue
		}
		reads := []string{"GIT_STRATEGY"}
		for _, program := range job.steps() {
			steps++
			for _, variable := range program.Variables() {
				reads = append(reads, variable.Name)
			}
		}
		for variable := range job.Variables {
			if !slices.Contains(reads, variable) {
				t.Errorf("%s sets %s, which no step of it reads", name, variable)
			}
		}
	}
	if steps != 8 {
		t.Errorf("%d steps were found in the scripts", steps)
	}
}

// TestADigestIsNeverLeftOut has each job that is handed a result demand it, and take it from a job that it needs.
func TestADigestIsNeverLeftOut(t *testing.T) {
	t.Parallel()
	_, jobs, _ := read(t)
	handed := 0
	for name, job := range jobs {
		for variable, value := range job.Variables {
			result, ok := strings.CutPrefix(fmt.Sprint(value), "$")
			if !ok || strings.Contains(result, "[") || !isResult(result) {
				continue
			}
			handed++
			if !strings.Contains(fmt.Sprint(job.Variables["REQUIRE"]), variable) {
				t.Errorf("%s is handed %s as %s, and does not require it", name, result, variable)
			}
			if !slices.ContainsFunc(job.Needs, func(need any) bool { return jobs[needed(need)].handsOn(result) }) {
				t.Errorf("%s takes %s, which no job that it needs hands on (%v)", name, result, job.Needs)
			}
		}
	}
	if handed != 7 {
		t.Errorf("%d variables are handed on", handed)
	}
}

func isResult(name string) bool {
	for _, program := range programs {
		if slices.Contains(program.Results, name) {
			return true
		}
	}
	return false
}

// TestInputs has each input be used, and explained on the page as in the file.
func TestInputs(t *testing.T) {
	t.Parallel()
	inputs, _, text := read(t)
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, name := range slices.Sorted(maps.Keys(inputs)) {
		if !strings.Contains(text, "$[[ inputs."+name+" ]]") {
			t.Errorf("nothing uses the input %s", name)
		}
		shown := "required"
		if value := inputs[name].Default; value != nil && value != "" {
			shown = fmt.Sprintf("`%v`", value)
		} else if value == "" {
			shown = ""
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", name, shown, inputs[name].Description)
	}
	for _, used := range regexp.MustCompile(`inputs\.([a-z-]+)`).FindAllStringSubmatch(text, -1) {
		if _, known := inputs[used[1]]; !known {
			t.Errorf("the input %s is used and not there", used[1])
		}
	}
	const head = "| input | default | meaning |\n| --- | --- | --- |\n"
	_, rest, _ := strings.Cut(string(page), head)
	there, _, _ := strings.Cut(rest, "\n\n")
	if os.Getenv("DOCKLINE_UPDATE") == "true" {
		updated := strings.Replace(string(page), head+there, head+strings.TrimSuffix(table.String(), "\n"), 1)
		if err := os.WriteFile("README.md", []byte(updated), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if there+"\n" != table.String() {
		t.Errorf("the page's table is stale: run make docs. It should be\n%s", &table)
	}
}

// TestTheExampleIsWhatThePageShows keeps the two from drifting apart.
func TestTheExampleIsWhatThePageShows(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	example, err := os.ReadFile("example/.gitlab-ci.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, shown, _ := strings.Cut(string(page), "```yaml\n")
	shown, _, _ = strings.Cut(shown, "```")
	if !strings.Contains(string(example), strings.TrimSpace(shown)) {
		t.Errorf("the page shows\n%s\nand the example is\n%s", shown, example)
	}
	inputs, _, _ := read(t)
	for name, input := range inputs {
		if input.Default == nil && !strings.Contains(shown, "      "+name+": ") {
			t.Errorf("the example lacks the input %s", name)
		}
	}
}

// TestThePageTellsWhatIsDropped: what a job sets goes in the place of the project's own default for it, without a word.
func TestThePageTellsWhatIsDropped(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, told, found := strings.Cut(string(page), "A `default:` of the project")
	told, _, _ = strings.Cut(told, "\n\n")
	if !found {
		t.Fatal("the page does not speak of defaults")
	}
	content, err := os.ReadFile("dockline.yml")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := bytes.Cut(content, []byte("\n---\n"))
	var jobs map[string]map[string]any
	if err := yaml.Unmarshal(body, &jobs); err != nil {
		t.Fatal(err)
	}
	build := jobs["$[[ inputs.job-prefix ]]build-image"]
	if after, set := build["after_script"].([]any); !set || len(after) > 0 {
		t.Errorf("the build runs the after_script %v: the Dockerfile was root where that runs", build["after_script"])
	}
	// https://docs.gitlab.com/ci/yaml/#default
	for _, keyword := range []string{
		"after_script", "artifacts", "before_script", "cache", "hooks", "id_tokens", "identity", "image", "interruptible", "retry",
		"services", "tags", "timeout",
	} {
		drops := false
		for name, job := range jobs {
			_, sets := job[keyword]
			if sets && keyword == "after_script" && !strings.HasSuffix(name, "build-image") {
				t.Errorf("%s drops a default after_script, and the page says that build-image alone does", name)
			}
			drops = drops || sets
		}
		if names := strings.Contains(told, "`"+keyword+"`"); names != drops {
			t.Errorf("a default %s is dropped: %t; the page says so: %t", keyword, drops, names)
		}
	}
}
