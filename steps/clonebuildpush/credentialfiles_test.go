package clonebuildpush

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const publicCertificate = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"

func TestCredentialFilesAreRemovedBeforeTheBuild(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		description string
		path        string // in the container
		content     string
		env         string // variable that gets the path (a leading ^ means its directory)
		stays       bool
	}{
		{"a password's file", "run/registry-password", registryPassword + "\n", "REGISTRY_PASSWORD_FILE", false},
		{"a registry's auth file", "etc/auth.json", `{"auths":{}}`, "REGISTRY_AUTH_FILE", false},
		{"docker's configuration", "docker/config.json", `{"auths":{}}`, "^DOCKER_CONFIG", false},
		{"podman's", "runtime/containers/auth.json", `{"auths":{}}`, "", false},
		{"docker's, at home", "home/.docker/config.json", `{"auths":{}}`, "", false},
		{"Git's", "home/.git-credentials", "https://u:p@host", "", false},
		{"netrc", "home/.netrc", "machine host password x", "", false},
		{"Kaniko's own", "kaniko/.docker/config.json", `{"auths":{}}`, "", false},
		{"Tekton's copies", "tekton/creds/.docker/config.json", `{"auths":{}}`, "", false},
		{"the ServiceAccount's token", "var/run/secrets/kubernetes.io/serviceaccount/token", "eyJ", "", false},
		{"the ServiceAccount's CA", "var/run/secrets/kubernetes.io/serviceaccount/ca.crt", publicCertificate, "", true},
		{"the ServiceAccount's namespace", "var/run/secrets/kubernetes.io/serviceaccount/namespace", "dev", "", true},
		{"a file variable of GitLab", "builds/hello.tmp/DEPLOY_KEY", "secret", "", false},
		{"GitLab's certificate", "builds/hello.tmp/CI_SERVER_TLS_CA_FILE", publicCertificate, "", true},
		{"kubectl's configuration", "etc/kubeconfig", "users: []", "KUBECONFIG", false},
		{"what is none", "etc/motd", "hello", "", true},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			s := newStage(t)
			s.commit("one")
			path := filepath.Join(s.root, test.path)
			writeFile(t, path, test.content)
			changes := []string{
				"HOME", filepath.Join(s.root, "home"), "XDG_RUNTIME_DIR", filepath.Join(s.root, "runtime"),
				"CI_PROJECT_DIR", filepath.Join(s.root, "builds/hello"),
			}
			if name, dir := strings.CutPrefix(test.env, "^"); dir {
				changes = append(changes, name, filepath.Dir(path))
			} else if test.env != "" {
				changes = append(changes, test.env, path)
			}
			if test.env == "REGISTRY_PASSWORD_FILE" {
				changes = append(changes, "REGISTRY_PASSWORD", "")
			}
			s.mustRun(changes...)
			if _, err := os.Lstat(path); (err == nil) != test.stays {
				t.Errorf("%s is there: %t, want %t", test.path, err == nil, test.stays)
			}
			if s.digest("1.0") == "" {
				t.Error("nothing was pushed")
			}
		})
	}
}

func TestMountedSecretIsRemovedThroughItsLinks(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	// As Kubernetes mounts a Secret: password -> ..data/password, ..data -> ..2026.
	dir := filepath.Join(s.root, "secret")
	writeFile(t, filepath.Join(dir, "..2026", "password"), registryPassword)
	for link, target := range map[string]string{"..data": "..2026", "password": "..data/password"} {
		if err := os.Symlink(target, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s.mustRun("REGISTRY_PASSWORD", "", "REGISTRY_PASSWORD_FILE", filepath.Join(dir, "password"))
	if err := filepath.WalkDir(s.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			t.Errorf("%s is left", path)
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

func TestCredentialFileThatCannotBeRemoved(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	// A regular file that nobody can remove, root included, on every Linux.
	const path = "/proc/version"

	status, output := s.run("KUBECONFIG", path)
	if status != 3 || !strings.Contains(output, path) || !strings.Contains(output, "ALLOW_READABLE_CREDENTIALS=true") {
		t.Errorf("exit status %d, want 3 and the file's name:\n%s", status, output)
	}
	if len(s.builder.requests) > 0 {
		t.Error("it was built all the same")
	}
	status, output = s.run("KUBECONFIG", path, "ALLOW_READABLE_CREDENTIALS", "true")
	if status != 0 || !strings.Contains(output, path) {
		t.Errorf("allowed: exit status %d, want 0 and a warning with the file's name:\n%s", status, output)
	}
}

func TestGitConfigurationOfAWorkTreeIsScrubbed(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	dir := filepath.Join(t.TempDir(), "tree")
	config := filepath.Join(dir, ".git", "config")
	clone := exec.Command("git", "clone", "-q", "-b", "develop", s.repo, dir)
	if out, err := clone.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, config, string(text)+"[remote \"ci\"]\n\turl = https://gitlab-ci-token:"+gitPassword+"@gitlab.example.com/x.git\n")
	s.mustRun("GIT_URL", "", "GIT_REVISION", "", "SOURCE_DIR", dir, "KEEP_GIT_DIR", "true")
	if text, err = os.ReadFile(config); err != nil || strings.Contains(string(text), gitPassword) {
		t.Errorf("the configuration is still %q (%v)", text, err)
	}
	if asked := s.builder.requests[0]; len(asked.Exclude) > 0 || asked.Labels[labelRevision] == "" {
		t.Errorf("excluded %q, labels %q", asked.Exclude, asked.Labels)
	}
}

func TestNothingIsRemovedWhereNothingIsBuilt(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	s.commit("one")
	path := filepath.Join(s.root, "home", ".docker", "config.json")
	writeFile(t, path, `{"auths":{}}`)
	s.builder.refuse = true
	if status, output := s.run("HOME", filepath.Join(s.root, "home")); status != 5 {
		t.Errorf("exit status %d, want 5:\n%s", status, output)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("outside of our image the file was removed: %v", err)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
