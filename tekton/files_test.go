// Package tekton tests the files beside it against the steps that they run. Tekton's own opinion of them is in e2e/tekton.
package tekton

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// object is one YAML document; Task is as much of a Task as the tests look at.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace string
	}
	path string
	text []byte
}

type task struct {
	Spec struct {
		Params       []param
		Results      []struct{ Name, Type string }
		Workspaces   []struct{ Name string }
		StepTemplate container
		Steps        []container
		Volumes      []volume
	}
}

type param struct {
	Name, Description string
	Default           *string
}

type container struct {
	Name, Image, Script string
	Command, Args       []string
	Env                 []struct {
		Name, Value string
		ValueFrom   *struct{ SecretKeyRef *secretKey }
	}
	EnvFrom []struct {
		Prefix    string
		SecretRef *secretKey
	}
	VolumeMounts []struct {
		Name, MountPath string
		ReadOnly        bool
	}
	SecurityContext *securityContext
}

type secretKey struct{ Name, Key string }

type volume struct {
	Name      string
	Secret    *struct{ SecretName string }
	ConfigMap *struct{ Name string }
	EmptyDir  *struct{}
}

type securityContext struct {
	Privileged, RunAsNonRoot, AllowPrivilegeEscalation, ReadOnlyRootFilesystem *bool
	RunAsUser                                                                  *int64
	Capabilities                                                               struct{ Add, Drop []string }
	SeccompProfile                                                             struct{ Type string }
}

// objects reads every YAML document below the folder.
func objects(t *testing.T) []object {
	t.Helper()
	var all []object
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".yaml" {
			return err
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		for _, text := range bytes.Split(content, []byte("\n---\n")) {
			o := object{path: path, text: text}
			if err := yaml.Unmarshal(text, &o); err != nil {
				t.Errorf("%s: %v", path, err)
			}
			all = append(all, o)
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		t.Fatalf("%d objects: %v", len(all), err)
	}
	return all
}

func readTask(t *testing.T, name string) task {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("tasks", name+".yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var read task
	if err := yaml.Unmarshal(content, &read); err != nil {
		t.Fatal(err)
	}
	return read
}

// TestKustomizationsListEveryFile fails for a file that no kubectl apply -k would send.
func TestKustomizationsListEveryFile(t *testing.T) {
	t.Parallel()
	listed := map[string]bool{}
	for _, root := range []string{".", "openshift"} {
		follow(t, root, listed)
	}
	for _, o := range objects(t) {
		if dir := filepath.Dir(o.path); o.Kind == "Kustomization" || dir == "examples" || dir == "." {
			continue
		}
		if !listed[o.path] {
			t.Errorf("%s is in no kustomization", o.path)
		}
	}
	for path := range listed {
		if strings.HasPrefix(path, "examples") {
			t.Errorf("%s is an example, and would be applied", path)
		}
	}
}

func follow(t *testing.T, dir string, listed map[string]bool) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "kustomization.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var kustomization struct{ Resources []string }
	if err := yaml.Unmarshal(content, &kustomization); err != nil {
		t.Fatal(err)
	}
	for _, resource := range kustomization.Resources {
		path := filepath.Join(dir, resource)
		listed[path] = true
		if filepath.Ext(path) != ".yaml" {
			follow(t, path, listed)
		}
	}
}

// TestTheReadmeNamesWhatIsUsed keeps the page that says how each Secret is made equal to what the files use.
func TestTheReadmeNamesWhatIsUsed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{"image-pull": true, "gitlab-webhook": true}
	for _, program := range programs() {
		spec := readTask(t, program.Name).Spec
		for _, step := range spec.Steps {
			for _, variable := range step.Env {
				if variable.ValueFrom != nil {
					used[variable.ValueFrom.SecretKeyRef.Name] = true
					if !strings.Contains(string(page), variable.ValueFrom.SecretKeyRef.Key) {
						t.Errorf("README.md does not name %s of the Secret %s", variable.ValueFrom.SecretKeyRef.Key, variable.ValueFrom.SecretKeyRef.Name)
					}
				}
			}
			for _, from := range step.EnvFrom {
				used[from.SecretRef.Name] = true
			}
		}
	}
	made := map[string]bool{}
	for line := range strings.Lines(string(page)) {
		fields := strings.Fields(line)
		if at := slices.Index(fields, "secret"); at > 0 && fields[at-1] == "create" {
			made[fields[at+2]] = true
		}
	}
	for name := range used {
		if !made[name] {
			t.Errorf("README.md does not say how the Secret %s is made", name)
		}
	}
	for name := range made {
		if !used[name] {
			t.Errorf("README.md makes the Secret %s, which nothing uses", name)
		}
	}
	for _, o := range objects(t) {
		if o.Kind == "Secret" {
			t.Errorf("%s holds a Secret", o.path)
		}
	}
}
