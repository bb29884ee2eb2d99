package retag_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSecondRollbackGoesNoFurther(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Tag("hello-app", "dev", v10)
	c.Tag("hello-app", "dev", v11)
	c.Follow("hello-app", "hello-app:dev", "")
	for range 2 {
		got := run(t, c, "ROLLBACK=true")
		want := map[string]string{"CURRENT_DIGEST": d10, "PREVIOUS_DIGEST": d11}
		if diff := cmp.Diff(want, got.Results); diff != "" {
			t.Fatalf("(-want +got)\n%s\n%s", diff, got.log)
		}
	}
}

// TestGoingBackRestoresTheTag has a run that changes all that it can on the tag, and fails.
func TestGoingBackRestoresTheTag(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Tag("hello-app", "dev", v10)
	stream := c.Get("imagestreams", "hello-app")
	tag := stream["spec"].(map[string]any)["tags"].([]any)[0].(map[string]any)
	tag["importPolicy"] = map[string]any{"importMode": "PreserveOriginal", "scheduled": true, "insecure": true}
	tag["referencePolicy"] = map[string]any{"type": "Local"}
	tag["annotations"] = map[string]any{"owner": "team"}
	c.Put("imagestreams", "hello-app", stream)
	c.AlterImports(d12)
	report := filepath.Join(t.TempDir(), "report.json")
	got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11, "IMPORT_INSECURE=false", "IMPORT_MODE=Legacy", "REFERENCE_POLICY=Source",
		"ROLLBACK_ON_FAILURE=true", "REPORT_FILE="+report)
	if got.Status != 8 || !strings.Contains(got.last, "back at "+d10+", without its scheduled import") || !strings.Contains(got.log, "IMPORT_SCHEDULED=true starts it again") {
		t.Errorf("exit status %d:\n%s", got.Status, got.log)
	}
	want := map[string]any{
		"name":            "dev",
		"annotations":     map[string]any{"owner": "team", "dockline/rolled-back-from": d12, "dockline/retagged": "hello-app@" + d10},
		"from":            map[string]any{"kind": "ImageStreamImage", "name": "hello-app@" + d10},
		"importPolicy":    map[string]any{"importMode": "PreserveOriginal", "insecure": true},
		"referencePolicy": map[string]any{"type": "Local"},
	}
	if diff := cmp.Diff(want, specTag(t, c)); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if content, err := os.ReadFile(report); err != nil || !strings.Contains(string(content), `"scheduledImportEnded": true`) {
		t.Errorf("%v: the report is\n%s", err, content)
	}
}

// TestInterruptedWhileGoingBack has SIGTERM arrive when the tag is put back after a failure: whoever then starts the same
// step again deploys what has just failed. It is not parallel, as TestInterrupted.
func TestInterruptedWhileGoingBack(t *testing.T) {
	hint := "Hint: the tag was being put back to " + d10 + " after a failure: look with verify before you start anything (exit status 143)"
	for _, row := range []struct {
		name string
		at   int // number of the request upon which it arrives, of those that write the tag and what follows the second one
	}{
		{"before the tag is written", 2},
		{"after it was written", 3},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := cluster(t)
			c.Tag("hello-app", "dev", v10)
			c.AlterImports(d12)
			number, stop := 0, make(chan struct{})
			c.Fail(func(method, _ string) (int, string, string) { // under the cluster's lock
				if method == "PUT" || number == 2 {
					number++
				}
				if number == row.at {
					_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
					<-stop // the answer comes too late
				}
				return 0, "", ""
			})
			got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11, "ROLLBACK_ON_FAILURE=true")
			close(stop)
			if got.Status != 143 || !strings.Contains(got.last, hint) {
				t.Errorf("exit status %d; the last line must say %q:\n%s", got.Status, hint, got.log)
			}
		})
	}
}
