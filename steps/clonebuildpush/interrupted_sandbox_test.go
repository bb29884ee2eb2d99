package clonebuildpush

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// stopped is what a build ends with after SIGTERM, wherever that finds it.
const stopped = "clone-build-push: interrupted: terminated (SIGTERM). Hint: nothing half-done is visible; " +
	"start the same step again to complete the work (exit status 143)"

// TestInterruptedAtAnyInstruction sends SIGTERM to the real program, in a sandbox whose first process is another, as in
// GitLab and in Tekton. At each place it ends within 5 s, no process is left, no tag is there, and no result.
func TestInterruptedAtAnyInstruction(t *testing.T) {
	t.Parallel()
	const dockerfile = `ARG BASE
FROM $BASE AS first
LABEL stage=first
WORKDIR /srv
COPY page /srv/first
RUN ["/bin/stamp", "/srv/made", "first"]
FROM $BASE
ARG NAME=hello
ENV NAME=$NAME
COPY --from=first /srv/made /srv/made
ADD page /srv/added
STOPSIGNAL SIGTERM
EXPOSE 8080
RUN ["/bin/probe", "wait"]
CMD ["/bin/probe", "wait"]
`
	var places []string
	for line := range strings.Lines(dockerfile) {
		line = strings.TrimSpace(line)
		if word, _, _ := strings.Cut(line, " "); word != "ARG" && word != "CMD" {
			places = append(places, line)
		}
	}
	for _, place := range places {
		t.Run(place, func(t *testing.T) {
			t.Parallel()
			s, _ := newRealStage(t, map[string]string{"page": "hello", "Dockerfile": dockerfile})
			s.interrupt(t, func(line string) bool { return strings.Contains(line, logged(place)) }, nil)
		})
	}
}

// logged is how the log tells that an instruction is begun.
func logged(instruction string) string {
	if from, ok := strings.CutPrefix(instruction, "FROM "); ok {
		index := 0
		if !strings.Contains(from, " AS ") {
			index = 1
		}
		return fmt.Sprintf("Building stage %d", index)
	}
	return instruction
}

// TestInterruptedBesideTheBuild is the same while a server keeps the step waiting: for the repository, for the base image,
// and for what is pushed.
func TestInterruptedBesideTheBuild(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ description, method, path string }{
		{"the registry is asked whether it may be written to", http.MethodPost, "/deepsky/hello/blobs/uploads/"},
		{"the base image's manifest", http.MethodGet, "/deepsky/web/manifests/"},
		{"the base image's layers", http.MethodGet, "/deepsky/web/blobs/"},
		{"a layer is pushed", http.MethodPut, "/deepsky/hello/blobs/uploads/"},
		{"the image is pushed", http.MethodPut, "/deepsky/hello/manifests/sha256:"},
		{"the image is tagged", http.MethodPut, "/deepsky/hello/manifests/commit-"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			requireSandbox(t)
			arrived, released := make(chan struct{}), make(chan struct{})
			var once sync.Once
			var armed atomic.Bool
			s := newStage(t)
			s.registry = startRegistry(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if armed.Load() && r.Method == test.method && strings.Contains(r.URL.Path, test.path) {
						once.Do(func() { close(arrived) })
						<-released
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			s.env["REGISTRY"] = s.registry
			s.fill("develop", map[string]string{
				"page": "hello", "Dockerfile": "ARG BASE\nFROM $BASE\nCOPY page /srv/\nRUN [\"/bin/stamp\", \"/srv/made\", \"1\"]\n",
			})
			t.Cleanup(func() { close(released) }) // before the server is closed
			armed.Store(true)
			s.interrupt(t, nil, arrived)
		})
	}

	t.Run("the repository", func(t *testing.T) {
		t.Parallel()
		s, _ := newRealStage(t, map[string]string{"Dockerfile": "FROM scratch\n"})
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
		arrived := make(chan struct{})
		go func() {
			if connection, err := listener.Accept(); err == nil { // and says nothing
				close(arrived)
				<-t.Context().Done()
				_ = connection.Close()
			}
		}()
		s.env["GIT_URL"] = "https://" + listener.Addr().String() + "/hello.git"
		s.interrupt(t, nil, arrived)
	})
}

// interrupt runs the step until a line of its log is the one, or the channel is closed, ends it by SIGTERM, and looks at
// what is left.
func (s *stage) interrupt(t *testing.T, at func(line string) bool, arrived <-chan struct{}) {
	t.Helper()
	results := t.TempDir()
	ctx, cancel := context.WithTimeout(t.Context(), longestBuild)
	defer cancel()
	command := s.inSandbox(ctx, []string{
		"/kaniko/bin/probe", "run", "/kaniko/bin/clone-build-push", "--", "/kaniko/bin/probe", "left",
	}, results, map[string]string{
		"CONTEXT_DIR": "", "LOG_LEVEL": "debug", "EXTRA_TAGS": "latest", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
		"DOTENV_FILE": "/results/dotenv",
	})
	output, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	command.Stderr = command.Stdout
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	var sent time.Time
	signal := func() {
		pid, err := childNamed(command.Process.Pid, "/kaniko/bin/clone-build-push")
		if err == nil {
			err = syscall.Kill(pid, syscall.SIGTERM)
		}
		if err != nil {
			t.Errorf("sending the signal: %v", err)
		}
		sent = time.Now()
	}
	lines := make(chan string)
	go func() {
		defer close(lines)
		for scanner := bufio.NewScanner(output); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	var took time.Duration
	for open := true; open; {
		var line string
		select {
		case line, open = <-lines:
			text.WriteString(line + "\n")
			if at != nil && sent.IsZero() && at(line) {
				signal()
			}
			if strings.HasPrefix(line, "clone-build-push: ") {
				took = time.Since(sent)
			}
		case <-arrived:
			arrived = nil
			signal()
		}
	}
	err = command.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if sent.IsZero() {
		t.Fatalf("it did not come so far:\n%s", &text)
	}
	said := text.String()
	if !strings.Contains("\n"+said, "\n"+stopped+"\nLEFT 0\n") {
		t.Errorf("want the line\n%s\nand no process to be left, in:\n%s", stopped, said)
	}
	if took > 5*time.Second {
		t.Errorf("it stopped after %v: the promise is 5 s", took)
	}
	if entries, err := os.ReadDir(results); err != nil || len(entries) > 0 {
		t.Errorf("results were left: %v, %v", entries, err)
	}
	for _, tag := range []string{"1.0", "latest"} {
		if s.digest(tag) != "" {
			t.Errorf("%s was pushed", tag)
		}
	}
}

// childNamed finds the child of a process that was started by this path.
func childNamed(of int, program string) (int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	for _, path := range paths {
		stat, err := os.ReadFile(path) //nolint:gosec // of /proc
		if err != nil {
			continue // it has just ended
		}
		fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
		if len(fields) < 2 || fields[1] != strconv.Itoa(of) {
			continue
		}
		line, err := os.ReadFile(filepath.Join(filepath.Dir(path), "cmdline")) //nolint:gosec // likewise
		if err == nil && strings.HasPrefix(string(line), program+"\x00") {
			return strconv.Atoi(filepath.Base(filepath.Dir(path)))
		}
	}
	return 0, fmt.Errorf("process %d has no child %q", of, program)
}
