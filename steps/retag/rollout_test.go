package retag_test

import (
	"strings"
	"testing"
	"time"

	kube "dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/imagestream"
	"dockline/pkg/workload"
)

func TestTriggersThatDoNotWorkAreSaid(t *testing.T) {
	t.Parallel()
	for _, row := range []struct{ name, paused, says string }{
		{"paused", "true", "its image trigger is paused"},
		{"paused as a text", `"false"`, "without quotes"},
	} {
		c := cluster(t)
		c.Tag("hello-app", "dev", v10)
		c.Follow("hello-app", "hello-app:dev", row.paused)
		got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11)
		if got.Status != 0 || !strings.Contains(got.log, row.says) {
			t.Errorf("%s: exit status %d, and the log lacks %q:\n%s", row.name, got.Status, row.says, got.log)
		}
	}
	c := cluster(t)
	c.Tag("hello-app", "dev", v10)
	if got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11); !strings.Contains(got.log, "no workload follows") {
		t.Errorf("nothing follows the tag, and the log does not say so:\n%s", got.log)
	}
}

// TestPodsThatKeepFailingEndTheRollout has the pods' trouble count as a failure before TIMEOUT is over.
func TestPodsThatKeepFailingEndTheRollout(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.TroublePods("CrashLoopBackOff")
	c.Tag("hello-app", "dev", v10)
	c.Follow("hello-app", "hello-app:dev", "")
	connected, err := kube.Connect(kube.Config{Server: c.URL, Token: "good"})
	if err != nil {
		t.Fatal(err)
	}
	survey, err := workload.In(connected, "dev").Await(t.Context(),
		workload.Target{Name: imagestream.Name{Stream: "hello-app", Tag: "dev"}, Digest: d10},
		workload.Patience{Poll: 10 * time.Millisecond, Failing: 50 * time.Millisecond}, nil)
	if fault.KindOf(err) != fault.Wrong || !strings.Contains(err.Error(), "CrashLoopBackOff") || len(survey.Followers) != 1 {
		t.Errorf("%v, %+v", err, survey)
	}
}

func TestWorkloadsWithoutTriggerAreSaid(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Tag("hello-app", "dev", v10)
	c.Put("deployments", "manual", map[string]any{"spec": map[string]any{"template": map[string]any{"spec": map[string]any{
		"containers": []any{map[string]any{"name": "web", "image": v10}}}}}})
	got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11)
	if got.Status != 0 || !strings.Contains(got.log, "Deployment manual (container web)") ||
		!strings.Contains(got.log, "no image trigger") {
		t.Errorf("exit status %d:\n%s", got.Status, got.log)
	}
}
