package tekton

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"dockline/pkg/step"
	"dockline/steps/clonebuildpush"
	"dockline/steps/promote"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

var update = flag.Bool("update", os.Getenv("DOCKLINE_UPDATE") == "true", "write the parameters' descriptions anew instead of comparing")

func programs() []step.Program {
	return []step.Program{clonebuildpush.Program(), promote.Program(), retag.Program(), verify.Program()}
}

// withoutParameter are the variables that a Task has no parameter for, and why. Those of Secrets are found by themselves.
var withoutParameter = map[string]string{
	"RESULTS_DIR":                "Tekton's own folder is the default",
	"DOTENV_FILE":                "it is GitLab's",
	"REPORT_FILE":                "it would be gone with the container",
	"REGISTRY_AUTH_FILE":         "the Secret holds account and password",
	"SOURCE_REGISTRY_AUTH_FILE":  "likewise",
	"TARGET_REGISTRY_AUTH_FILE":  "likewise",
	"KUBECONFIG":                 "the pod's ServiceAccount, or kube-server with the Secret's token",
	"SOURCE_DIR":                 "PHASE=clone clones",
	"PHASE":                      "the Task's steps say it themselves",
	"CHECKOUT_DIR":               "likewise: a volume of the Task",
	"IMAGE_DIR":                  "likewise",
	"PLATFORM_IMAGES":            "PHASE=index is no part of a build",
	"IMAGES_FILE":                "images holds them",
	"PLAN_FILE":                  "it would be gone with the container",
	"RECORD_PUBLIC_KEY_FILE":     "record-public-key holds them",
	"GIT_VERIFY_KEYS_FILE":       "git-verify-keys holds them",
	"GIT_ALLOW_LOCAL":            "the Task's containers hold no repository",
	"REPORT_DIR":                 "it is the workspace reports",
	"ALLOW_PRIVILEGED":           "the Task's containers are not privileged",
	"KANIKO_EXECUTOR":            "the Task's image holds no other program",
	"DEPLOY_FREEZE":              "it is GitLab's to say",
	"REQUIRE_PROTECTED_REF":      "likewise",
	"PROTECTED_REF":              "likewise",
	"ALLOW_READABLE_CREDENTIALS": "the build's container holds no file with credentials",
}

// TestParametersAreVariables fails for a variable that a Task lacks, and for a parameter that no step knows. The rule is
// one to one: GIT_URL is given by git-url and by nothing else.
func TestParametersAreVariables(t *testing.T) {
	t.Parallel()
	for _, program := range programs() {
		t.Run(program.Name, func(t *testing.T) {
			t.Parallel()
			spec := readTask(t, program.Name).Spec
			set := map[string]string{} // by a value
			secret := map[string]bool{}
			for _, c := range append([]container{spec.StepTemplate}, spec.Steps...) {
				for _, variable := range c.Env {
					switch {
					case variable.ValueFrom != nil:
						secret[variable.Name] = true
					default:
						set[variable.Name] = variable.Value
					}
				}
				for _, from := range c.EnvFrom {
					secret[from.Prefix+"*"] = true
				}
			}
			params := map[string]param{}
			for _, p := range spec.Params {
				params[p.Name] = p
			}

			for _, v := range program.Variables() {
				name := strings.ToLower(strings.ReplaceAll(v.Name, "_", "-"))
				p, given := params[name]
				delete(params, name)
				value, isSet := set[v.Name]
				delete(set, v.Name)
				reason := withoutParameter[v.Name]
				switch {
				case secret[v.Name]:
					delete(secret, v.Name)
					if given || isSet {
						t.Errorf("%s is a Secret's, and has a parameter", v.Name)
					}
				case v.Secret:
					t.Errorf("%s is a secret, and comes from no Secret", v.Name)
				case reason != "" && given:
					t.Errorf("%s has a parameter, although %s", v.Name, reason)
				case reason != "":
				case !given:
					t.Errorf("%s has no parameter", v.Name)
				case value != "$(params."+name+")":
					t.Errorf("%s is %q, not $(params.%s)", v.Name, value, name)
				case v.Required && p.Default != nil:
					t.Errorf("%s is required, and its parameter has a default", v.Name)
				case p.Default != nil && *p.Default != "":
					t.Errorf("%s: the default %q is the step's to know: it is to be empty", name, *p.Default)
				}
			}
			for name := range params {
				t.Errorf("no variable belongs to the parameter %s", name)
			}
			for name := range set {
				t.Errorf("the step does not know %s", name)
			}
			for name := range secret {
				t.Errorf("the step does not know the Secret's %s", name)
			}
		})
	}
}

// TestEveryReasonIsNeeded keeps the list short.
func TestEveryReasonIsNeeded(t *testing.T) {
	t.Parallel()
	var known []string
	for _, program := range programs() {
		for _, v := range program.Variables() {
			known = append(known, v.Name)
		}
	}
	for name := range withoutParameter {
		if !slices.Contains(known, name) {
			t.Errorf("no step has the variable %s", name)
		}
	}
}

// TestDescriptions keeps the parameters' descriptions equal to the variables' meanings, from which --help and
// docs/reference/ come too: make docs writes them.
func TestDescriptions(t *testing.T) {
	t.Parallel()
	entry := regexp.MustCompile(`(?m)^    - name: ([a-z-]+)\n      description: (.*)$`)
	for _, program := range programs() {
		meanings := map[string]string{}
		for _, v := range program.Variables() {
			meanings[strings.ToLower(strings.ReplaceAll(v.Name, "_", "-"))] = v.Meaning
		}
		path := filepath.Join("tasks", program.Name+".yaml")
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		found := 0
		want := entry.ReplaceAllStringFunc(string(content), func(text string) string {
			parts := entry.FindStringSubmatch(text)
			if meanings[parts[1]] == "" {
				return text
			}
			found++
			return fmt.Sprintf("    - name: %s\n      description: %s", parts[1], strconv.Quote(meanings[parts[1]]))
		})
		if params := len(readTask(t, program.Name).Spec.Params); found != params {
			t.Errorf("%s: %d of %d parameters have a description in one line", path, found, params)
		}
		if *update {
			if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
				t.Fatal(err)
			}
		} else if diff := cmp.Diff(string(content), want); diff != "" {
			t.Errorf("%s is stale: run make docs (-there +should be)\n%s", path, diff)
		}
	}
}

// TestResults compares the Tasks' results with the steps'. Tekton Chains takes what is named IMAGE_URL and IMAGE_DIGEST
// for built here: only a build may say so.
func TestResults(t *testing.T) {
	t.Parallel()
	for _, program := range programs() {
		var names []string
		for _, result := range readTask(t, program.Name).Spec.Results {
			names = append(names, result.Name)
			if result.Type != "string" {
				t.Errorf("%s: the result %s is of type %q", program.Name, result.Name, result.Type)
			}
			built := strings.HasSuffix(result.Name, "IMAGE_URL") || strings.HasSuffix(result.Name, "IMAGE_DIGEST")
			if built && program.Name != "clone-build-push" {
				t.Errorf("%s: Tekton Chains would take %s for the result of a build", program.Name, result.Name)
			}
		}
		if diff := cmp.Diff(program.Results, names); diff != "" {
			t.Errorf("%s (-the step's +the Task's)\n%s", program.Name, diff)
		}
	}
}

// TestParametersReachTheEnvironmentOnly: no shell and no command line ever sees what someone has typed, or pushed.
func TestParametersReachTheEnvironmentOnly(t *testing.T) {
	t.Parallel()
	value := regexp.MustCompile(`^\s*(- )?value: "?\$\([a-z.A-Z_-]+\)"?$`)
	for _, o := range objects(t) {
		if regexp.MustCompile(`(?m)^\s*(- )?script:`).Match(o.text) {
			t.Errorf("%s has a script", o.path)
		}
		for line := range strings.Lines(string(o.text)) {
			if strings.Contains(line, "$(") && !value.MatchString(strings.TrimRight(line, "\n")) {
				t.Errorf("%s uses a parameter elsewhere than as a whole value: %s", o.path, line)
			}
		}
	}
	for _, program := range programs() {
		spec := readTask(t, program.Name).Spec
		for _, c := range append([]container{spec.StepTemplate}, spec.Steps...) {
			if len(c.Args) != 0 {
				t.Errorf("%s: a step has arguments: %q", program.Name, c.Args)
			}
			if command := []string{"/kaniko/bin/" + program.Name}; c.Command != nil && !slices.Equal(c.Command, command) {
				t.Errorf("%s: the command is %q", program.Name, c.Command)
			}
			if spec.StepTemplate.Command == nil && c.Name != "" && c.Command == nil {
				t.Errorf("%s: the step %s names no command", program.Name, c.Name)
			}
		}
	}
}

// TestTheBuildStepsAreApart: what makes PHASE=clone, build and push safe to run in one pod.
func TestTheBuildStepsAreApart(t *testing.T) {
	t.Parallel()
	spec := readTask(t, "clone-build-push").Spec
	type seen struct{ name, phase, secrets, mounts string }
	var got []seen
	for _, c := range spec.Steps {
		s := seen{name: c.Name}
		var secrets, mounts []string
		for _, variable := range c.Env {
			if variable.Name == "PHASE" {
				s.phase = variable.Value
			}
			if variable.ValueFrom != nil {
				secrets = append(secrets, variable.ValueFrom.SecretKeyRef.Name)
			}
		}
		for _, from := range c.EnvFrom {
			secrets = append(secrets, from.SecretRef.Name)
		}
		for _, mount := range c.VolumeMounts {
			how := ":rw"
			if mount.ReadOnly {
				how = ":ro"
			}
			mounts = append(mounts, mount.MountPath+how)
		}
		s.secrets, s.mounts = strings.Join(slices.Compact(secrets), " "), strings.Join(mounts, " ")
		got = append(got, s)
	}
	want := []seen{
		{"clone", "clone", "git git-ssh", "/kaniko/checkout:rw /kaniko/image:rw /tmp:rw"},
		{"build", "build", "registry-pull build-secrets", "/kaniko/checkout:ro /kaniko/image:rw"},
		{"push", "push", "registry-push build-record", "/kaniko/checkout:ro /kaniko/image:ro"},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(seen{})); diff != "" {
		t.Error(diff)
	}
	for _, mount := range spec.StepTemplate.VolumeMounts {
		if !mount.ReadOnly {
			t.Errorf("all steps can write to %s", mount.MountPath)
		}
	}
	for _, program := range programs() {
		for _, v := range readTask(t, program.Name).Spec.Volumes {
			if v.Secret != nil || (v.EmptyDir == nil && v.ConfigMap == nil) {
				t.Errorf("%s: the volume %s is neither an empty folder nor a ConfigMap", program.Name, v.Name)
			}
		}
	}
}

// TestPrivileges: the build is root with what any container has, and everything else runs as nobody, without a capability,
// on a root file system that it cannot write.
func TestPrivileges(t *testing.T) {
	t.Parallel()
	is := func(value *bool, want bool) bool { return value != nil && *value == want }
	for _, program := range programs() {
		for _, c := range readTask(t, program.Name).Spec.Steps {
			s := c.SecurityContext
			if s == nil || s.SeccompProfile.Type != "RuntimeDefault" || s.RunAsUser == nil || len(s.Capabilities.Add) != 0 {
				t.Errorf("%s, step %s: %+v", program.Name, c.Name, s)
				continue
			}
			if c.Name == "build" {
				if *s.RunAsUser != 0 || !is(s.Privileged, false) || len(s.Capabilities.Drop) != 0 || s.AllowPrivilegeEscalation != nil {
					t.Errorf("%s, step %s: it is not an ordinary container of root: %+v", program.Name, c.Name, s)
				}
				continue
			}
			if *s.RunAsUser == 0 || !is(s.RunAsNonRoot, true) || !is(s.ReadOnlyRootFilesystem, true) ||
				!is(s.AllowPrivilegeEscalation, false) || !slices.Equal(s.Capabilities.Drop, []string{"ALL"}) || s.Privileged != nil {
				t.Errorf("%s, step %s: it may do more than it needs: %+v", program.Name, c.Name, s)
			}
		}
	}
}
