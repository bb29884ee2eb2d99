package promote

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// TestKilled kills the real program before its n-th request at the target is answered, for each n until a run comes
// through: the tag must never lead to an incomplete image, and the next run must complete the work.
func TestKilled(t *testing.T) {
	t.Parallel()
	binary := built(t)
	for _, row := range []struct {
		description string
		held        bool
		variables   []string
		least       int64 // requests that a whole run makes, at least: else the test tests little
	}{
		{"copied", false, nil, 20},
		{"forced", true, []string{"FORCE", "true", "FORCE_REASON", "killed"}, 24},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			const bound = 200
			for n := int64(1); n < bound; n++ {
				s := newStage(t)
				held := ""
				if row.held {
					held = push(t, s.target, hello+":1.0", twoPlatforms(t, "0ld"))
				}
				status := killBefore(t, s, n, binary, row.variables)
				if now := holds(t, s.target, hello+":1.0"); now != held && now != s.digest {
					t.Fatalf("killed before request %d: the tag holds %q, want %q or %q", n, now, held, s.digest)
				} else if now == s.digest && row.held && holds(t, s.target, backupOf(held)) != held {
					t.Fatalf("killed before request %d: replaced without a backup", n)
				}
				if got := promote(t, s.with(row.variables...)); got.status != 0 {
					t.Fatalf("killed before request %d: the next run ends in %d: %s", n, got.status, got.log)
				}
				if now := holds(t, s.target, hello+":1.0"); now != s.digest {
					t.Fatalf("killed before request %d: the next run leaves the tag on %q, want %q", n, now, s.digest)
				}
				if row.held && holds(t, s.target, backupOf(held)) != held {
					t.Fatalf("killed before request %d: the next run leaves no backup", n)
				}
				s.source.Stop()
				s.target.Stop()
				if status == 0 {
					if n < row.least {
						t.Errorf("a whole run made %d requests, want at least %d", n, row.least)
					}
					t.Logf("killed before each of %d requests", n-1)
					return
				}
			}
			t.Fatalf("no run came through with fewer than %d requests", bound)
		})
	}
}

// built returns the program's file.
func built(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "promote")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "dockline/cmd/promote")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, output)
	}
	return binary
}

// command returns the program with these variables, not started.
func command(t *testing.T, binary string, variables map[string]string) *exec.Cmd {
	t.Helper()
	command := exec.CommandContext(t.Context(), binary)
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "RESULTS_DIR=" + t.TempDir(),
		"SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true",
	}
	for key, value := range variables {
		command.Env = append(command.Env, key+"="+value)
	}
	return command
}

// killBefore runs the program and kills it (SIGKILL) when its n-th request has come in at the target. Neither that
// request nor a later one is answered. It returns 0 when the program ended by itself and well, else -1.
func killBefore(t *testing.T, s *stage, n int64, binary string, variables []string) int {
	t.Helper()
	command := command(t, binary, s.with(variables...))
	started, dead := make(chan struct{}), make(chan struct{})
	var seen atomic.Int64
	s.target.Before(func(*http.Request) {
		number := seen.Add(1)
		if number < n {
			return
		}
		if number == n {
			<-started
			_ = command.Process.Kill()
		}
		select {
		case <-dead:
		case <-time.After(10 * time.Second):
			t.Error("the program outlives SIGKILL")
		}
		panic(http.ErrAbortHandler)
	})
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	close(started)
	err := command.Wait()
	close(dead)
	var exit *exec.ExitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit) && exit.ExitCode() == -1: // by a signal
		return -1
	}
	panic(fmt.Sprintf("killed before request %d: %v", n, err))
}
