package promote

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"dockline/e2e/faultyregistry"
)

// TestTerminatedBetweenTags sends SIGTERM to the real program while it writes the n-th tag of a set.
func TestTerminatedBetweenTags(t *testing.T) {
	t.Parallel()
	const n = 24 // more than are written at a time
	binary := built(t)
	for _, row := range []struct {
		description string
		match       string // of the target's requests that come to this from then on
		fault       faultyregistry.Fault
		whole       bool    // the tags are put back
		at          []int64 // the tags at whose write it comes
	}{
		{"the registry answers", "DELETE /", faultyregistry.Then(func() {}), true, []int64{1, 18}},
		{"the registry answers no more", "* /", hang, false, []int64{7}},
		{"the registry lets nothing be removed", "DELETE /", faultyregistry.Status(405, "UNSUPPORTED"), false, []int64{18}},
	} {
		for _, at := range row.at {
			t.Run(fmt.Sprintf("%s, at %d", row.description, at), func(t *testing.T) {
				t.Parallel()
				s := newStage(t)
				_, images := newSet(t, s, n)
				command := command(t, binary, s.with("IMAGE", "", "IMAGES", images))
				var stderr bytes.Buffer
				command.Stderr = &stderr
				started := make(chan struct{})
				var once sync.Once
				var written atomic.Int64
				var signalled atomic.Int64
				s.target.Before(func(r *http.Request) {
					if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, "/manifests/1.0") || written.Add(1) < at {
						return
					}
					once.Do(func() {
						<-started
						signalled.Store(time.Now().UnixNano())
						s.target.Break(row.match, -1, row.fault)
						_ = command.Process.Signal(syscall.SIGTERM)
					})
				})
				if err := command.Start(); err != nil {
					t.Fatal(err)
				}
				close(started)
				_ = command.Wait()
				// Five seconds are promised by pkg/step, and tested there; a machine that is busy with tests takes longer.
				took := time.Since(time.Unix(0, signalled.Load()))
				lines := strings.Split(strings.TrimSpace(stderr.String()), "\n")
				last := lines[len(lines)-1]
				s.target.Before(nil)
				var moved []string
				for i, digest := range tagsOf(t, s.target, n) {
					if digest != "" {
						moved = append(moved, service(i))
					}
				}
				named := 0
				for _, service := range moved {
					if strings.Contains(last, service+":1.0") {
						named++
					}
				}
				status := command.ProcessState.ExitCode()
				if status != 143 && (status != 0 || len(moved) < n) || took > 10*time.Second {
					t.Errorf("exit status %d after %s: %s", status, took, stderr.String())
				}
				switch {
				case len(moved) == n: // the signal came after the last one was begun: the set is whole
				case row.whole && len(moved) > 0:
					t.Errorf("the tags of %v moved, and were not put back: %s", moved, stderr.String())
				case named < len(moved) && named < mostNamed && !strings.Contains(last, "REPORT_FILE"):
					t.Errorf("the tags of %v have moved, and the last line does not say so: %s", moved, last)
				}
				if got := promote(t, s.with("IMAGE", "", "IMAGES", images)); got.status != 0 {
					t.Errorf("the next run ends in %d: %s", got.status, got.last)
				}
			})
		}
	}
}

// hang takes the request, and answers when the client has given up.
func hang(w http.ResponseWriter, r *http.Request, next http.Handler) {
	_, _ = io.Copy(io.Discard, r.Body) // until then the server does not see that the client is gone
	faultyregistry.Hang()(w, r, next)
}
