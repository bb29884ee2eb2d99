package imageapi

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// TestRootChanges runs the same program by each way of changing its root that the kernel allows here.
func TestRootChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	for name, content := range map[string]string{"srv/message": "found", "bin/x": ""} {
		if err := os.MkdirAll(filepath.Join(root, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(root, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(root, "bin/hello"), "./testdata/hello")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building hello: %v\n%s", err, output)
	}
	image := &v1.ConfigFile{Config: v1.Config{Entrypoint: []string{"hello"}, Env: []string{"PATH=/bin", "V=1.0"}}}
	for change, description := range map[rootChange]string{
		rootBySelf: "told its folder", rootByChroot: "chroot", rootByNamespace: "user namespace",
	} {
		t.Run(description, func(t *testing.T) {
			t.Parallel()
			if !change.allowed() {
				// Not a skip: that the best way is allowed wherever it is chosen is what findRootChange is for.
				if findRootChange() == change {
					t.Error("it was chosen, and is not allowed")
				}
				return
			}
			runner := &ProcessRunner{Dir: t.TempDir(), changes: change}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			states, ended := make(chan PodState, 100), make(chan string, 1)
			go func() {
				ended <- runner.runOnce(ctx, Pod{Name: "web", Grace: time.Second}, dir, image, PodState{}, func(s PodState) { states <- s })
			}()
			for ready := false; !ready; {
				select {
				case state := <-states:
					if ready = state.Ready; ready {
						if got := fetch(t, state.Port); got != "version 1.0, found, <nil>, path /" {
							t.Errorf("it answers %q", got)
						}
					}
				case message := <-ended:
					t.Fatal("it ended: ", message)
				case <-time.After(10 * time.Second):
					t.Fatal("it is not ready after 10 s")
				}
			}
			cancel()
			select {
			case <-ended:
			case <-time.After(10 * time.Second):
				t.Error("it has not ended after 10 s")
			}
		})
	}
}

// fetch returns what a service answers, without its process number.
func fetch(t *testing.T, port int) string {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	var pid int
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	answer := string(body)
	for i := range answer {
		if n, _ := fmt.Sscanf(answer[i:], ", pid %d", &pid); n == 1 {
			return answer[:i]
		}
	}
	return answer
}
