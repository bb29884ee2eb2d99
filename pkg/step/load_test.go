package step

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestConfiguration(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte("from-a-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, row := range map[string]struct {
		environment []string
		check       func(s *sample) (got, want any)
		problem     []string // parts of the last line; nil means success
	}{
		"a missing variable":        {nil, nil, []string{"IMAGE is missing", "exit status 2"}},
		"an empty one is missing":   {[]string{"IMAGE="}, nil, []string{"IMAGE is missing"}},
		"an empty one is default":   {[]string{"IMAGE=a", "TIMEOUT="}, func(s *sample) (any, any) { return s.Timeout, 5 * time.Minute }, nil},
		"all problems at once":      {[]string{"FORCE=maybe", "TIMEOUT=5", "LOG_FORMAT=xml"}, nil, []string{"IMAGE is missing", `FORCE: "maybe" is not true or false`, `TIMEOUT: "5" is not a duration`, "LOG_FORMAT"}},
		"a secret from a file":      {[]string{"IMAGE=a", "GIT_PASSWORD_FILE=" + secretFile}, func(s *sample) (any, any) { return s.Password.Reveal(), "from-a-file" }, nil},
		"a secret given twice":      {[]string{"IMAGE=a", "GIT_PASSWORD=x", "GIT_PASSWORD_FILE=" + secretFile}, nil, []string{"GIT_PASSWORD and GIT_PASSWORD_FILE are both set"}},
		"a secret file not there":   {[]string{"IMAGE=a", "GIT_PASSWORD_FILE=/nowhere"}, nil, []string{"GIT_PASSWORD_FILE: open /nowhere"}},
		"GitLab's default":          {[]string{"IMAGE=a", "CI_COMMIT_SHA=abc"}, func(s *sample) (any, any) { return s.Commit, "abc" }, nil},
		"GitLab's default is off":   {[]string{"IMAGE=a", "CI_COMMIT_SHA=abc", "GIT_URL=https://x"}, func(s *sample) (any, any) { return s.Commit, "" }, nil},
		"a prefixed group":          {[]string{"IMAGE=a", "TARGET_REGISTRY=r"}, func(s *sample) (any, any) { return s.Target.Address, "r" }, nil},
		"a family":                  {[]string{"IMAGE=a", "BUILD_SECRET_NPM=tok3n", "BUILD_SECRET_KEY_FILE=" + secretFile}, func(s *sample) (any, any) { return s.Secrets, map[string]Secret{"NPM": "tok3n", "KEY": "from-a-file"} }, nil},
		"REQUIRE holds":             {[]string{"IMAGE=a", "REQUIRE=IMAGE"}, nil, nil},
		"REQUIRE does not hold":     {[]string{"IMAGE=a", "REQUIRE=IMAGE, DIGEST"}, nil, []string{"DIGEST is empty, and REQUIRE says"}},
		"REQUIRE and a file":        {[]string{"IMAGE=a", "REQUIRE=DIGEST", "DIGEST_FILE=" + secretFile}, nil, []string{"DIGEST is empty, and REQUIRE says"}},
		"REQUIRE and a secret file": {[]string{"IMAGE=a", "REQUIRE=GIT_PASSWORD", "GIT_PASSWORD_FILE=" + secretFile}, nil, nil},
		"a report in no folder":     {[]string{"IMAGE=a", "REPORT_FILE=/dev/null/x"}, nil, []string{"REPORT_FILE", "not a folder"}},
		"a map":                     {[]string{"IMAGE=a", "LABELS=a:b,c:d"}, func(s *sample) (any, any) { return s.Labels, map[string]string{"a": "b", "c": "d"} }, nil},
		"a near miss is no problem": {[]string{"IMAGE=a", "TARGET_REGITSRY=x"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &sample{}
			status, _, stderr := try(t, s, nil, row.environment...)
			if row.problem == nil && status != 0 || row.problem != nil && status != 2 {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			for _, part := range row.problem {
				if !strings.Contains(lastLine(stderr), part) {
					t.Errorf("%q is not in the last line %q", part, lastLine(stderr))
				}
			}
			if row.check != nil {
				got, want := row.check(s)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
		})
	}
}

func TestNearMisses(t *testing.T) {
	t.Parallel()
	for name, meant := range map[string]string{
		"TARGET_REGITSRY":      "TARGET_REGISTRY",
		"TARGET_REGISTRY_USER": "TARGET_REGISTRY_USERNAME",
		"IMGAE":                "IMAGE",
		"git_url":              "GIT_URL",
		"CI_REGISTRY":          "",
		"KUBERNETES_PORT":      "",
		"IMAGE_PORT":           "",
		"PATH":                 "",
		"UNRELATED":            "",
		"BUILD_SECRET_ANY":     "",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, stderr := try(t, &sample{}, nil, "IMAGE=a", name+"=value")
			warned := strings.Contains(stderr, name+" is set, and no step reads it")
			if warned != (meant != "") || !strings.Contains(stderr, meant) {
				t.Errorf("want a warning that names %q, got %q", meant, stderr)
			}
		})
	}
}
