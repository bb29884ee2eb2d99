package clonebuildpush

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dockline/e2e/sandbox"
)

// belowAShell is the step as one command of a shell that has all of its environment, and tells afterwards what is left
// running.
var belowAShell = []string{
	"/kaniko/bin/probe", "run", "/kaniko/bin/clone-build-push", "--", "/kaniko/bin/sabotage", "left",
}

// TestSIGTERMInTheMiddleOfABuild comes while a RUN is at work, and a daemon of an earlier RUN, which forges the results.
func TestSIGTERMInTheMiddleOfABuild(t *testing.T) {
	t.Parallel()
	s, hash := newRealStage(t, map[string]string{
		"Dockerfile": "ARG BASE\nFROM $BASE\nRUN [\"/bin/sabotage\"]\nRUN [\"/bin/sabotage\", \"daemon\"]\n",
	})
	for _, row := range []struct {
		name   string
		args   []string
		status int // of the first process
	}{
		{"as first process", nil, 143},
		{"below a shell", belowAShell, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			results := t.TempDir()
			ctx, cancel := context.WithTimeout(t.Context(), longestBuild)
			defer cancel()
			command := s.inSandbox(ctx, row.args, results, map[string]string{
				"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1",
			})
			var output bytes.Buffer
			command.Stdout, command.Stderr = &output, &output
			if err := command.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- command.Wait() }()
			again := time.NewTicker(5 * time.Millisecond)
			defer again.Stop()
			for readResult(results, "heartbeat") == "" {
				select {
				case err := <-ended:
					t.Fatalf("it ended before the RUN: %v\n%s", err, &output)
				case <-again.C:
				}
			}
			step := command.Process.Pid
			if row.args != nil {
				step = onlyChild(t, step)
			}
			sent := time.Now()
			if err := syscall.Kill(step, syscall.SIGTERM); err != nil {
				t.Fatal(err)
			}
			err := <-ended
			if took := time.Since(sent); took > 5*time.Second {
				t.Errorf("it stopped after %v: the promise is 5 s", took)
			}
			if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
				t.Fatal(err)
			}
			const last = "clone-build-push: interrupted: terminated (SIGTERM). Hint: nothing half-done is visible; " +
				"start the same step again to complete the work (exit status 143)\n"
			want := last
			if row.args != nil {
				want += "LEFT 0\n"
			}
			if status := command.ProcessState.ExitCode(); status != row.status || !strings.HasSuffix(output.String(), want) {
				t.Errorf("exit status %d, want %d and the end\n%s in:\n%s", status, row.status, want, &output)
			}
			for _, tag := range []string{"1.0", "commit-" + hash} {
				if s.digest(tag) != "" {
					t.Errorf("%s was pushed", tag)
				}
			}
			for _, name := range []string{"IMAGE_URL", "IMAGE_DIGEST", "COMMIT"} {
				if _, err := os.Lstat(filepath.Join(results, name)); err == nil {
					t.Errorf("the result %s was left", name)
				}
			}
		})
	}
}

// onlyChild returns the id of a process's child.
func onlyChild(t *testing.T, parent int) int {
	t.Helper()
	processes, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	var children []int
	for _, path := range processes {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has just ended
		}
		var pid, from int
		var state string
		_, _ = fmt.Sscan(filepath.Base(filepath.Dir(path)), &pid)
		if _, err := fmt.Sscan(string(text[bytes.LastIndexByte(text, ')')+1:]), &state, &from); err == nil && from == parent {
			children = append(children, pid)
		}
	}
	if len(children) != 1 {
		t.Fatalf("the children of %d are %v", parent, children)
	}
	return children[0]
}

// TestRefusesWhereARunCouldTakeTheMachine: what cannot be held is not built, unless that is asked for.
func TestRefusesWhereARunCouldTakeTheMachine(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{"Dockerfile": "ARG BASE\nFROM $BASE\nRUN [\"/bin/stamp\", \"/srv/made\", \"yes\"]\n"})
	folder := t.TempDir()
	socket, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", filepath.Join(folder, "docker.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	for _, row := range []struct {
		name, version string
		alter         func(*sandbox.Spec)
		why           string
	}{
		{"a privileged container", "privileged", func(spec *sandbox.Spec) { spec.Capable = true },
			"the container is privileged (CAP_SYS_ADMIN) and the machine's kernel settings can be changed (/proc/sys is writable)"},
		{"an engine's socket", "socket", func(spec *sandbox.Spec) { spec.Binds["/run/docker.sock"] = filepath.Join(folder, "docker.sock") },
			"the engine's socket is mounted at /run/docker.sock"},
		{"a folder with an engine's socket", "folder", func(spec *sandbox.Spec) { spec.Binds["/var/run"] = folder },
			"the engine's socket is mounted at /var/run/docker.sock"},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			if row.version == "privileged" && os.Geteuid() != 0 {
				t.Skip("NO PRIVILEGED CONTAINER IS TESTED: an ordinary user has none")
			}
			results := t.TempDir()
			changes := map[string]string{
				"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1", "IMAGE": "deepsky/hello:" + row.version,
			}
			status, output := s.runInSandbox(nil, results, changes, row.alter)
			want := "clone-build-push: not allowed: refusing to build: " + row.why + ", so a RUN could read every secret. " +
				"Hint: run the step unprivileged, or accept that with ALLOW_PRIVILEGED=true (exit status 5)\n"
			if status != 5 || !strings.HasSuffix(output, want) {
				t.Errorf("exit status %d, want 5 and\n%s in:\n%s", status, want, output)
			}
			if entries, err := os.ReadDir(results); err != nil || len(entries) > 0 || s.digest(row.version) != "" {
				t.Errorf("left: results %v (%v), image %q", entries, err, s.digest(row.version))
			}
			changes["ALLOW_PRIVILEGED"] = "true"
			if status, output := s.runInSandbox(nil, results, changes, row.alter); status != 0 {
				t.Errorf("allowed: exit status %d:\n%s", status, output)
			} else if _, content := s.pushed(row.version); content["srv/made"] != "yes\n" {
				t.Errorf("allowed: built %q", content)
			}
		})
	}
}

// TestAHostileRunFindsNoCredential searches for the credentials of the whole step, wherever it is given them. That the
// search would find them is shown by a file that cannot be removed, and by pkg/kaniko's tests without protection.
func TestAHostileRunFindsNoCredential(t *testing.T) {
	t.Parallel()
	const fileSecret = "s3cr3t-of-a-file"
	var dockerfile strings.Builder
	dockerfile.WriteString("ARG BASE\nFROM $BASE\n")
	for _, secret := range []string{registryPassword, gitPassword, fileSecret} {
		fmt.Fprintf(&dockerfile, "RUN [\"/bin/probe\", \"search\", \"%s\"]\n", hex.EncodeToString([]byte(secret)))
	}
	s, _ := newRealStage(t, map[string]string{"Dockerfile": dockerfile.String()})
	outside := filepath.Join(t.TempDir(), "password")
	writeFile(t, outside, registryPassword)

	mounted := func(spec *sandbox.Spec) { spec.Binds["/secret/password"] = outside }
	fromFile := map[string]string{"REGISTRY_PASSWORD": "", "REGISTRY_PASSWORD_FILE": "/secret/password"}
	everywhere := func(spec *sandbox.Spec) {
		for _, path := range []string{
			"/root/.docker/config.json", "/kaniko/.docker/config.json", "/docker/config.json", "/root/.netrc",
			"/root/.git-credentials", "/root/.ssh/id_ed25519", "/tekton/creds/.docker/config.json",
			"/tekton/creds-secrets/git/password", "/var/run/secrets/kubernetes.io/serviceaccount/token",
			"/builds/hello.tmp/DEPLOY_KEY", "/etc/kubeconfig", "/etc/registry-auth.json",
		} {
			spec.Files[path] = `{"auths":{"registry.test":{"password":"` + fileSecret + `"}}}`
		}
		spec.Files["/secret/password"] = registryPassword + "\n"
	}
	for _, row := range []struct {
		name    string
		args    []string
		changes map[string]string
		alter   func(*sandbox.Spec)
		status  int
		found   []string // the places, all of them
	}{
		{"as first process", nil, nil, nil, 0, nil},
		{"below a shell", belowAShell, nil, nil, 0, nil},
		{"files that are removed", nil, map[string]string{
			"REGISTRY_PASSWORD": "", "REGISTRY_PASSWORD_FILE": "/secret/password", "DOCKER_CONFIG": "/docker",
			"KUBECONFIG": "/etc/kubeconfig", "REGISTRY_AUTH_FILE": "/etc/registry-auth.json",
			"CI_PROJECT_DIR": "/builds/hello",
		}, everywhere, 0, nil},
		{"a mounted file, which cannot be removed", nil, fromFile, mounted, 3, nil},
		{"control: a mounted file, allowed", nil, map[string]string{
			"REGISTRY_PASSWORD": "", "REGISTRY_PASSWORD_FILE": "/secret/password", "ALLOW_READABLE_CREDENTIALS": "true",
		}, mounted, 0, []string{"/secret/password"}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			changes := map[string]string{"CONTEXT_DIR": "", "BUILD_ARGS": "BASE=" + s.registry + "/deepsky/web:1"}
			for name, value := range row.changes {
				changes[name] = value
			}
			alter := row.alter
			if alter == nil {
				alter = func(*sandbox.Spec) {}
			}
			status, output := s.runInSandbox(row.args, t.TempDir(), changes, alter)
			if status != row.status {
				t.Fatalf("exit status %d, want %d:\n%s", status, row.status, output)
			}
			if searches := strings.Count(output, "SEARCHED "); status == 0 && searches != 3 {
				t.Errorf("%d searches, want 3:\n%s", searches, output)
			}
			if found := strings.Count(output, "FOUND "); found != len(row.found) {
				t.Errorf("found in %d places, want %q:\n%s", found, row.found, output)
			}
			for _, place := range row.found {
				if !strings.Contains(output, "FOUND "+place+" ") {
					t.Errorf("not found: %s\n%s", place, output)
				}
			}
			if status == 3 && !strings.Contains(output, "the credentials in /secret/password, which cannot be removed") {
				t.Errorf("the file is not named:\n%s", output)
			}
		})
	}
}
