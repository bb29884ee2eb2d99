package retag_test

import (
	"bytes"
	"context"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"dockline/pkg/step"
	"dockline/steps/retag"
)

func TestCancellingEndsTheWait(t *testing.T) {
	t.Parallel()
	c := cluster(t)
	c.Stick()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(300*time.Millisecond, cancel)
	started := time.Now()
	var out bytes.Buffer
	status := step.Run(ctx, retag.Impatient(), nil, []string{
		"KUBE_SERVER=" + c.URL, "KUBE_TOKEN=good", "NAMESPACE=dev", "STREAM_TAG=hello-app:dev", "REGISTRY=" + host,
		"IMAGE=deepsky/hello:1.0", "DIGEST=" + d10,
	}, &out, &out)
	if status == 0 || time.Since(started) > 5*time.Second {
		t.Errorf("exit status %d after %s:\n%s", status, time.Since(started), out.String())
	}
}

// TestInterrupted has SIGTERM arrive before the tag is moved, and after. It is not parallel: the signal is for all runs
// in this process.
func TestInterrupted(t *testing.T) {
	for _, row := range []struct {
		name   string
		method string // of the request upon which, or after which, it arrives
		after  bool
		from   string
		last   string
	}{
		{"before the move", "POST", false, v10, "nothing half-done is visible"},
		{"during the move", "PUT", false, v11, "the tag may have been moved already"},
		{"after the move", "PUT", true, v11, "the tag was moved already, and pods may be rolling"},
	} {
		t.Run(row.name, func(t *testing.T) {
			c := cluster(t)
			c.Tag("hello-app", "dev", v10)
			c.Stick()
			seen, stop := false, make(chan struct{})
			c.Fail(func(method, path string) (int, string, string) { // under the cluster's lock
				if strings.Contains(path, "/selfsubject") { // several at once, beside the first look at the stream
					return 0, "", ""
				}
				if seen && row.after || method == row.method && !row.after {
					_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
					if !row.after {
						<-stop // the answer comes too late
					}
				}
				seen = seen || method == row.method
				return 0, "", ""
			})
			got := run(t, c, "IMAGE=deepsky/hello:1.1", "DIGEST="+d11, "ROLLBACK_ON_FAILURE=true")
			close(stop)
			if got.Status != 143 || !strings.Contains(got.last, "interrupted: terminated (SIGTERM)") || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d; the last line must say %q:\n%s", got.Status, row.last, got.log)
			}
			if len(got.Results) != 0 {
				t.Errorf("results %v of a run that was interrupted", got.Results)
			}
			if from := specTag(t, c)["from"].(map[string]any)["name"]; from != row.from {
				t.Errorf("the tag points at %q, want %q", from, row.from)
			}
		})
	}
}
