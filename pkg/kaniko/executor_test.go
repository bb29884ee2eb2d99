package kaniko_test

import (
	"encoding/hex"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/sandbox"
)

// withExecutor has the plain executor build, with the same name and the same flags as Kaniko's own.
func withExecutor(spec *sandbox.Spec) {
	spec.Programs["/kaniko/executor"] = filepath.Join(tools, "plain")
	spec.Env = append(spec.Env, "KANIKO_EXECUTOR=/kaniko/executor", "BUILD_SECRET=")
}

func setting(variable string) func(*sandbox.Spec) {
	return func(spec *sandbox.Spec) { spec.Env = append(spec.Env, variable) }
}

func TestAnotherExecutor(t *testing.T) {
	t.Parallel()
	const outside = "what-only-the-container-has"
	image := base(t)
	for name, row := range map[string]struct {
		dockerfile string
		change     func(*sandbox.Spec)
		status     int
		want, not  []string
	}{
		"stages": {
			"FROM " + image + " AS first\nCOPY page /made\nFROM " + image + "\nCOPY --from=first /made /srv/\n", withExecutor, 0,
			[]string{`FILE srv/made "hello"`, "BUILT sha256:"}, nil,
		},
		"a RUN that fails": {
			"FROM " + image + "\nRUN [\"/bin/probe\", \"no\", \"such\", \"thing\"]\n", withExecutor, 9,
			[]string{`ERROR "/kaniko/executor": waiting for process to exit: exit status 2`}, []string{"BUILT"},
		},
		"an image that is not named": {
			"FROM " + strings.Replace(image, "base:1", "other:1", 1) + "\n", withExecutor, 5,
			[]string{"deepsky/other\": it is not among the images of the Dockerfile"}, []string{"BUILT", password},
		},
		"a RUN that leaves a daemon": {
			"FROM " + image + "\nRUN [\"/bin/probe\", \"leave\", \"/bin/probe\", \"wait\"]\n", withExecutor, 0,
			[]string{"BUILT sha256:"}, nil,
		},
		"nothing of the container's own files": {
			"FROM " + image + "\nRUN [\"/bin/probe\", \"search\", \"" + hex.EncodeToString([]byte(outside)) + "\"]\n",
			both(withExecutor, func(spec *sandbox.Spec) { spec.Files["/etc/outside"] = outside }), 0,
			[]string{"LOG  SEARCHED 0\n", "BUILT sha256:"}, []string{"FOUND"},
		},
		"a build secret": {
			"FROM scratch\nCOPY page /\n", both(withExecutor, setting("BUILD_SECRET="+buildSecret)), 2,
			[]string{"ERROR refusing to build with \"/kaniko/executor\": every RUN could read the build secrets"}, []string{"BUILT"},
		},
		"a program that is not there": {
			"FROM scratch\nCOPY page /\n", both(withExecutor, setting("KANIKO_EXECUTOR=/kaniko/none")), 2,
			[]string{`ERROR the executor "/kaniko/none" is not the absolute path of a program`}, []string{"BUILT"},
		},
		"one in another folder": {
			"FROM scratch\nCOPY page /\n", both(withExecutor, setting("KANIKO_EXECUTOR=/bin/other"), func(spec *sandbox.Spec) {
				spec.Programs["/bin/other"] = filepath.Join(tools, "plain")
			}), 2,
			[]string{`ERROR the executor "/bin/other" is not directly in /kaniko`}, []string{"BUILT"},
		},
		"no program": {
			"FROM scratch\nCOPY page /\n", both(withExecutor, setting("KANIKO_EXECUTOR=/kaniko/context/page")), 2,
			[]string{`ERROR the executor "/kaniko/context/page" is not a program`}, []string{"BUILT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, row.dockerfile, image, row.change)
			if status != row.status {
				t.Errorf("exit status %d, want %d", status, row.status)
			}
			for _, part := range row.want {
				if !strings.Contains(output, part) {
					t.Errorf("%q is missing", part)
				}
			}
			for _, part := range row.not {
				if strings.Contains(output, part) {
					t.Errorf("%q is there", part)
				}
			}
			if t.Failed() {
				t.Log(output)
			}
		})
	}
}

// TestAHostileRunBelowAnotherExecutor finds no more than with the one that is built in.
func TestAHostileRunBelowAnotherExecutor(t *testing.T) {
	t.Parallel()
	image := base(t)
	for name, change := range map[string]func(*sandbox.Spec){
		"as first process": withExecutor, "below a shell": both(withExecutor, belowAShell),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			output, status := inSandbox(t, searching(image, password), image, change)
			if !strings.Contains(output, "LOG  SEARCHED 0\n") || !strings.Contains(output, "BUILT sha256:") {
				t.Errorf("exit status %d\n%s", status, output)
			}
		})
	}
	t.Run("what it does find: the key to the images that the Dockerfile names", func(t *testing.T) {
		t.Parallel()
		output, status := inSandbox(t, "FROM "+image+"\nRUN [\"/bin/probe\", \"search\", \""+hex.EncodeToString([]byte(`{"auths":{"127.0.0.1:`))+"\"]\n", image, withExecutor)
		if status != 0 || !strings.Contains(output, "LOG  FOUND /kaniko/build-") {
			t.Errorf("exit status %d\n%s", status, output)
		}
	})
}
