//go:build e2e

package image_test

import (
	"crypto/sha1" //nolint:gosec // as Git has it
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/faultyregistry"
)

// findShell is how GitLab's runner starts a script: with the first of these that is there, by a shell from PATH, and
// the script on standard input.
const findShell = `for shell in /usr/local/bin/bash /usr/bin/bash /bin/bash /usr/local/bin/sh /usr/bin/sh /bin/sh /busybox/sh; do
	if [ -x $shell ]; then exec $shell; fi
done
echo shell not found
exit 1`

// TestAScriptGoesOnAfterABuild: a build replaces the file system around the shell that runs it. The script's next lines
// work all the same, and so does another script in the same container (GitLab's after_script), whatever was built.
func TestAScriptGoesOnAfterABuild(t *testing.T) {
	t.Parallel()
	registry, base := newBase(t)
	for name, row := range map[string]struct {
		dockerfile string
		status     int
		shell      string // of the next script
	}{
		"several stages, and nothing in the last": {`
FROM ` + base + ` AS one
RUN echo one >/one
FROM ` + base + ` AS two
COPY --from=one /one /one
RUN busybox cat /one >/two && busybox rm -rf /tmp
FROM scratch
COPY --from=two /two /two
`, 0, "/bin/sh"},
		"several stages, and a shell in the last": {`
FROM ` + base + ` AS one
RUN echo one >/one
FROM ` + base + `
COPY --from=one /one /two
RUN busybox touch /three
`, 0, "/bin/sh"},
		"a stage that removes every link to the shell": {`
FROM ` + base + `
RUN echo two >/two && busybox rm -rf /busybox /bin/sh
`, 0, "/bin/sh"},
		"a RUN that fails": {`
FROM ` + base + ` AS one
RUN echo one >/one
FROM ` + base + `
COPY --from=one /one /two
RUN exit 3
`, 9, "/bin/sh"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			version := strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' {
					return r
				}
				return '-'
			}, strings.ToLower(name))
			work := t.TempDir()
			write(t, filepath.Join(work, "Dockerfile"), row.dockerfile)
			id := newJob(t, work, registry, version)

			status, stdout, stderr := script(t, id, `set -e
status=0
clone-build-push || status=$?
echo "status $status"
grep IMAGE_DIGEST build.env || echo no digest
ls / >/dev/null
echo temporary >"$(mktemp)"
/bin/sh -c 'echo "a shell, $(basename "$0")"'
promote --version
`)
			if status != 0 {
				t.Fatalf("the script ended in status %d\n%s%s", status, stdout, stderr)
			}
			wanted := []string{"status " + map[int]string{0: "0", 9: "9"}[row.status] + "\n", "a shell, sh\n", "promote "}
			if row.status == 0 {
				wanted = append(wanted, "IMAGE_DIGEST=sha256:")
			} else {
				wanted = append(wanted, "no digest\n")
			}
			for _, want := range wanted {
				if !strings.Contains(stdout, want) {
					t.Errorf("%q is not in\n%s%s", want, stdout, stderr)
				}
			}
			if row.status == 0 {
				if _, err := remote.Head(reference(t, registry.Host()+"/"+hello+":"+version), account); err != nil {
					t.Error(err)
				}
			}

			status, stdout, stderr = script(t, id, "set -e\necho \"after: $(readlink /proc/$$/exe)\"\nls /busybox/sh\nverify --version\n")
			if status != 0 || !strings.Contains(stdout, "after: ") || !strings.Contains(stdout, "/busybox/sh\nverify ") {
				t.Errorf("the next script ended in status %d\n%s%s", status, stdout, stderr)
			}
		})
	}
}

var account = remote.WithAuth(&authn.Basic{Username: user, Password: password})

// newBase is a registry that holds a base image with a shell, and that image's name.
func newBase(t *testing.T) (registry *faultyregistry.Registry, address string) {
	t.Helper()
	busybox, err := os.ReadFile(project + "/.build/rootfs/kaniko/busybox/busybox")
	if err != nil {
		t.Fatal(err)
	}
	base, err := baseimage.Pack(
		baseimage.File{Path: "/bin/busybox", Content: busybox}, baseimage.File{Path: "/bin/sh", Content: busybox})
	if err != nil {
		t.Fatal(err)
	}
	registry = faultyregistry.Start(t)
	registry.Login(user, password)
	name := registry.Host() + "/deepsky/base:1"
	if err := remote.Write(reference(t, name), base, account); err != nil {
		t.Fatal(err)
	}
	return registry, name
}

// newJob makes a container as GitLab's Docker executor makes it for a job, with further options, and returns its ID.
func newJob(t *testing.T, work string, registry *faultyregistry.Registry, version string, options ...string) string {
	t.Helper()
	args := append([]string{"create", "-i", "--network", "host", "-v", work + ":/builds/deepsky/hello", "-w", "/builds/deepsky/hello",
		"-e", "GITLAB_CI=true", "-e", "CI_PROJECT_DIR=/builds/deepsky/hello", "-e", "CI_COMMIT_SHA=" + fmt.Sprintf("%x", sha1.Sum([]byte(version))), //nolint:gosec // a commit
		"-e", "IMAGE=" + hello + ":" + version, "-e", "DOTENV_FILE=build.env",
		"-e", "REGISTRY=" + registry.Host(), "-e", "REGISTRY_INSECURE=true",
		"-e", "REGISTRY_USERNAME=" + user, "-e", "REGISTRY_PASSWORD=" + password,
	}, options...)
	status, stdout, stderr := run(t, append(args, image, "sh", "-c", findShell)...)
	if status != 0 {
		t.Fatal(stderr)
	}
	return strings.TrimSpace(stdout)
}

// script runs a script in a job's container, which stays as the script leaves it.
func script(t *testing.T, id, text string) (status int, stdout, stderr string) {
	t.Helper()
	command := docker.Command(t.Context(), "start", "-ai", id)
	command.Stdin = strings.NewReader(text)
	return finish(t, command)
}
