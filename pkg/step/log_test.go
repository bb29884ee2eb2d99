package step

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"dockline/pkg/fault"
)

func TestJSONLogHoldsTheLastLine(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
		rt.Log.Info().Str("with", "hunter22").Msg("said")
		return Outcome{}, fault.New(fault.NotFound, "no hunter22 here")
	}}
	_, _, stderr := try(t, s, nil, "IMAGE=a", "LOG_FORMAT=json", "GIT_PASSWORD=hunter22")
	var line map[string]any
	if err := json.Unmarshal([]byte(lastLine(stderr)), &line); err != nil {
		t.Fatal(err)
	}
	if line["exit_status"] != 4.0 || line["message"] != "sample: no [MASKED] here" || strings.Contains(stderr, "hunter22") {
		t.Errorf("got %s", stderr)
	}
}

func TestSectionsOnlyInGitLab(t *testing.T) {
	t.Parallel()
	s := &sample{run: func(_ context.Context, rt *Runtime) (Outcome, error) {
		rt.Section("clone", "Cloning")()
		return Outcome{}, nil
	}}
	_, _, in := try(t, s, nil, "IMAGE=a", "GITLAB_CI=true")
	_, _, outside := try(t, s, nil, "IMAGE=a")
	if !strings.Contains(in, ":clone[collapsed=true]\r\x1b[0KCloning\n") || !strings.Contains(in, "section_end:") {
		t.Errorf("in GitLab: %q", in)
	}
	if strings.Contains(outside, "section_") {
		t.Errorf("elsewhere: %q", outside)
	}
}
