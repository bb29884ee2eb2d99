package tekton

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"sigs.k8s.io/yaml"

	"dockline/e2e/faultyregistry"
	"dockline/e2e/imageapi"
	"dockline/pkg/step"
	"dockline/steps/retag"
	"dockline/steps/verify"
)

// right is one verb on one resource.
type right struct{ role, resource, verb string }

// asksAgain is the one right that only saves time: without it, retag asks every few seconds whether an import is done.
var asksAgain = right{"dockline-tag", "imagestreams", "watch"}

// TestTheRolesAreWhatTheStepsNeed: with exactly the rights that the Roles in dev give to their accounts, retag and verify
// do all that they do; without any one of them, something fails.
func TestTheRolesAreWhatTheStepsNeed(t *testing.T) {
	t.Parallel()
	rights := rightsIn(t, "dev")
	if len(rights["retag"]) < 10 || len(rights["verify"]) < 5 {
		t.Fatalf("the Roles give %v", rights)
	}
	for _, r := range rights["verify"] {
		if r.verb != "get" && r.verb != "list" && r.verb != "watch" {
			t.Errorf("verify may %s %s: it is to look only", r.verb, r.resource)
		}
	}
	t.Run("all", func(t *testing.T) {
		t.Parallel()
		if failed := live(t, rights["retag"], rights["verify"]); failed != "" {
			t.Error(failed)
		}
	})
	for account, all := range rights {
		for i, missing := range all {
			t.Run(fmt.Sprintf("%s without %s %s", account, missing.verb, missing.resource), func(t *testing.T) {
				t.Parallel()
				changed := map[string][]right{"retag": rights["retag"], "verify": rights["verify"]}
				changed[account] = slices.Delete(slices.Clone(all), i, i+1)
				failed := live(t, changed["retag"], changed["verify"])
				if failed == "" && missing != asksAgain {
					t.Error("nothing fails: the right is not needed")
				}
				if missing != asksAgain && account == "retag" && !namesRight(failed, missing) {
					t.Errorf("before it changes anything, retag is to name the right, and the Role %s that gives it:\n%s", missing.role, failed)
				}
			})
		}
	}
}

// namesRight tells whether a run ended for want of that very right, by what it asked beforehand.
func namesRight(output string, missing right) bool {
	first := "retag [IMAGE=deepsky/hello:1.0 CREATE_APP=true]: exit status 5"
	if missing.verb == "update" {
		first = "retag [IMAGE=deepsky/hello:1.1 CREATE_APP=true]: exit status 5" // a new stream is created
	}
	return strings.HasPrefix(output, first) &&
		strings.Contains(output, "checking the rights for hello-app:dev: system:serviceaccount:dockline-build:retag may not") &&
		strings.Contains(output, missing.verb+" "+missing.resource) &&
		strings.Contains(output, "Nothing was changed. The Role "+missing.role+" gives what is missing")
}

// rightsIn returns what each account may do in an environment.
func rightsIn(t *testing.T, environment string) map[string][]right {
	t.Helper()
	roles := map[string][]right{}
	for _, o := range objects(t) {
		if o.Kind != "Role" || !strings.HasPrefix(o.path, "environment/") {
			continue
		}
		var role struct {
			Rules []struct{ Resources, Verbs []string }
		}
		if err := yaml.Unmarshal(o.text, &role); err != nil {
			t.Fatal(err)
		}
		for _, rule := range role.Rules {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					roles[o.Metadata.Name] = append(roles[o.Metadata.Name], right{o.Metadata.Name, resource, verb})
				}
			}
		}
	}
	rights := map[string][]right{}
	for _, o := range objects(t) {
		if o.Kind != "RoleBinding" || !strings.HasPrefix(o.path, environment+"/") {
			continue
		}
		var binding struct {
			RoleRef  struct{ Name string }
			Subjects []struct{ Name string }
		}
		if err := yaml.Unmarshal(o.text, &binding); err != nil {
			t.Fatal(err)
		}
		for _, subject := range binding.Subjects {
			rights[subject.Name] = append(rights[subject.Name], roles[binding.RoleRef.Name]...)
		}
	}
	return rights
}

// live has an environment deployed for the first time, moved on, taken back and judged, each account with its rights, and
// says what failed.
func live(t *testing.T, retagger, verifier []right) string {
	t.Helper()
	registry := faultyregistry.Start(t)
	for _, version := range []string{"1.0", "1.1"} {
		image, err := random.Image(64, 1)
		if err != nil {
			t.Fatal(err)
		}
		tag, err := name.NewTag(registry.Host()+"/deepsky/hello:"+version, name.Insecure)
		if err != nil {
			t.Fatal(err)
		}
		if err := remote.Write(tag, image); err != nil {
			t.Fatal(err)
		}
	}
	api := imageapi.New(imageapi.Options{
		Namespaces: []string{"dev"}, ImportDelay: 20 * time.Millisecond, TriggerDelay: 20 * time.Millisecond,
		Users: []imageapi.User{user("retag", retagger), user("verify", verifier)},
	})
	server := httptest.NewServer(api)
	defer func() { server.CloseClientConnections(); server.Close(); api.Close() }()

	steps := []struct {
		program step.Program
		with    []string
	}{
		{retag.Program(), []string{"IMAGE=deepsky/hello:1.0", "CREATE_APP=true"}},
		{verify.Program(), []string{"EXPECT_IMAGE=deepsky/hello:1.0"}},
		{retag.Program(), []string{"IMAGE=deepsky/hello:1.1", "CREATE_APP=true"}},
		{verify.Program(), []string{"EXPECT_IMAGE=deepsky/hello:1.1"}},
		{retag.Program(), []string{"ROLLBACK=true"}},
		{verify.Program(), []string{"EXPECT_IMAGE=deepsky/hello:1.0"}},
	}
	for _, s := range steps {
		var out bytes.Buffer
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		status := step.Run(ctx, s.program, nil, append([]string{
			"KUBE_SERVER=" + server.URL, "KUBE_TOKEN=" + s.program.Name + "-token", "NAMESPACE=dev", "STREAM_TAG=hello-app:dev",
			"TIMEOUT=10s", "REGISTRY=" + registry.Host(), "REGISTRY_INSECURE=true", "RESULTS_DIR=" + t.TempDir(),
		}, s.with...), &out, &out)
		cancel()
		if status != 0 || strings.Contains(out.String(), " WRN ") {
			return fmt.Sprintf("%s %v: exit status %d\n%s", s.program.Name, s.with, status, out.String())
		}
	}
	return ""
}

func user(account string, rights []right) imageapi.User {
	u := imageapi.User{Name: "system:serviceaccount:dockline-build:" + account, Token: account + "-token"}
	for _, r := range rights {
		u.Rules = append(u.Rules, imageapi.Rule{
			Namespaces: []string{"dev"}, Resources: []string{r.resource}, Verbs: []string{r.verb},
		})
	}
	return u
}

// TestTheEnvironmentsAreAlike: dev and prod differ in their name and in who may act there.
func TestTheEnvironmentsAreAlike(t *testing.T) {
	t.Parallel()
	for _, file := range []string{"kustomization.yaml", "namespace.yaml", "bindings.yaml"} {
		dev, err := os.ReadFile("dev/" + file)
		if err != nil {
			t.Fatal(err)
		}
		prod, err := os.ReadFile("prod/" + file)
		if err != nil {
			t.Fatal(err)
		}
		want := strings.NewReplacer("dockline-build", "dockline-release", "in dev", "in prod", ": dev", ": prod").Replace(string(dev))
		if want != string(prod) {
			t.Errorf("prod/%s is not dev/%s under another name", file, file)
		}
	}
}
