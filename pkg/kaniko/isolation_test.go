package kaniko_test

import (
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/sandbox"
)

// searching is a Dockerfile whose RUN searches all it can reach for the secret.
func searching(image, secret string) string {
	return "FROM " + image + "\nRUN [\"/bin/probe\", \"search\", \"" + hex.EncodeToString([]byte(secret)) + "\"]\n"
}

// control has the builder go without layers of its protection.
func control(layers string) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) {
		spec.Programs["/kaniko/builder"] = filepath.Join(tools, "control")
		spec.Env = append(spec.Env, "DOCKLINE_CONTROL_WITHOUT="+layers)
	}
}

// belowAShell starts the builder from a process that stands for the shell of a CI job: it has the password in its
// environment, and waits.
func belowAShell(spec *sandbox.Spec) {
	spec.Args = []string{"/kaniko/probe", "run", "/kaniko/builder", "--", "/kaniko/probe", "run", "--"}
}

func both(changes ...func(*sandbox.Spec)) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) {
		for _, change := range changes {
			change(spec)
		}
	}
}

// TestAHostileRunFindsNoSecret: a RUN that searches all it can reach for the secrets of the processes above it finds
// none. Each control goes without some of the protection, and says what then holds and what does not: so the search
// would find a secret if there were one to find.
func TestAHostileRunFindsNoSecret(t *testing.T) {
	t.Parallel()
	image := base(t)
	for name, row := range map[string]struct {
		secret string
		change func(*sandbox.Spec)
		found  []string // places; none means that nothing is found
	}{
		"as first process": {password, nil, nil},
		"below a shell":    {password, belowAShell, nil},
		"control: capabilities alone keep the first process":        {password, control("shield"), nil},
		"control: being undumpable alone keeps the first process":   {password, control("capabilities"), nil},
		"control: nothing keeps the first process":                  {password, control("shield,capabilities"), []string{"/proc/1/environ", "/proc/1/mem"}},
		"control: only capabilities keep the shell":                 {password, both(belowAShell, control("capabilities")), []string{"/proc/1/environ", "/proc/1/mem"}},
		"control: only capabilities, not being undumpable, matter":  {password, both(belowAShell, control("shield")), nil},
		"a build secret that this RUN did not mount":                {buildSecret, nil, nil},
		"control: the child is a RUN's equal but for that it hides": {buildSecret, control("child"), []string{"/mem"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, searching(image, row.secret), image, row.change)
			if !strings.Contains(output, "LOG  SEARCHED") || !strings.Contains(output, "BUILT sha256:") {
				t.Fatalf("the search did not run (status %d):\n%s", status, output)
			}
			if found := strings.Contains(output, "LOG  FOUND"); found != (len(row.found) > 0) {
				t.Errorf("found: %v\n%s", found, output)
			}
			for _, place := range row.found {
				if !strings.Contains(output, place+"\n") {
					t.Errorf("not found: %s\n%s", place, output)
				}
			}
		})
	}
}
