package verify_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dockline/pkg/step"
	"dockline/steps/verify"
)

func TestNoVerdictOfAnEarlierRunStays(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	files := []string{"VERDICT", "verify.env", "verify.json", "verify.xml", "verify.html", "verify.md"}
	for _, name := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("VERDICT=right"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var log bytes.Buffer
	status := step.Run(t.Context(), verify.Program(), nil,
		[]string{"RESULTS_DIR=" + dir, "REPORT_DIR=" + dir, "DOTENV_FILE=" + filepath.Join(dir, "verify.env")}, &log, &log)
	if status != 2 {
		t.Errorf("exit status %d:\n%s", status, &log)
	}
	for _, name := range files {
		if content, err := os.ReadFile(filepath.Join(dir, name)); err == nil {
			t.Errorf("%s still says %q", name, content)
		}
	}
}

// TestALookThatIsBrokenOffFindsNothing ends a run, by a signal or by TIMEOUT, while the page is being fetched. It is not
// parallel: the signal is for all runs in this process.
func TestALookThatIsBrokenOffFindsNothing(t *testing.T) {
	for _, row := range []struct {
		name      string
		answers   int32 // that come before one that does not
		terminate bool
		timeout   string
		status    int
		verdict   string
		last      string
	}{
		{"terminated in the only look", 0, true, "", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"terminated in the first look", 0, true, "30s", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"terminated in a later look", 1, true, "30s", 143, "unknown", "interrupted: terminated (SIGTERM)"},
		{"out of time in the first look", 0, false, "1s", 7, "unknown", "TIMEOUT=1s is over"},
		{"out of time in a later look", 1, false, "3s", 7, "wrong", `version 1.0</h1>" instead of "version 1.1"`},
	} {
		t.Run(row.name, func(t *testing.T) {
			w := newWorld(t)
			var calls atomic.Int32
			page := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if calls.Add(1) <= row.answers {
					_, _ = fmt.Fprintf(rw, "<h1>version 1.0</h1>")
					return
				}
				if row.terminate {
					_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
				}
				<-r.Context().Done()
			}))
			t.Cleanup(page.Close)
			got := w.run(t, "URL="+page.URL, "EXPECT_TEXT=version 1.1", "TIMEOUT="+row.timeout)
			if got.status != row.status || got.verdict != row.verdict || !strings.Contains(got.last, row.last) {
				t.Errorf("exit status %d (want %d), VERDICT %q (want %q), and the last line must say %q:\n%s",
					got.status, row.status, got.verdict, row.verdict, row.last, got.log)
			}
		})
	}
}

func TestWaitsUntilRight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patched := w.push(t, "1.0")
	time.AfterFunc(time.Second, func() { w.cluster.Tag("hello-app", "dev", w.reference("1.0")) }) // the scheduled import
	got := w.run(t, "REGISTRY="+w.registry.Host(), "REGISTRY_INSECURE=true", "EXPECT_IMAGE=deepsky/hello:1.0", "TIMEOUT=30s")
	if got.status != 0 || got.verdict != "right" || got.digest != patched {
		t.Errorf("exit status %d, VERDICT %q, CURRENT_DIGEST %q, want %q\n%s", got.status, got.verdict, got.digest, patched, got.log)
	}
}
