package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
)

// TestReadmeExample runs the README's first example as it is written; only the registries' names are other ones.
func TestReadmeExample(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile("(?s)```sh\n(.*?)```").FindSubmatch(readme)
	if example == nil {
		t.Fatal("the README has no example")
	}
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	image := push(t, source, hello+":1.0")
	source.Login("reader", "testing-"+password)
	target.Login("writer", "production-"+password)

	dir := t.TempDir()
	for path, content := range map[string]string{
		"testing-password": "testing-" + password, "production-password": "production-" + password,
	} {
		if err := os.WriteFile(filepath.Join(dir, path), []byte(content+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(programs, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	script := strings.NewReplacer("make build\n", "", "registry-testing.example.com", source.Host(),
		"registry.example.com", target.Host()).Replace(string(example[1]))
	command := exec.Command("sh", "-e", "-c", script)
	command.Dir = dir
	command.Env = []string{"SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true"}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	tag, err := name.NewTag(target.Host() + "/" + hello + ":1.0")
	if err != nil {
		t.Fatal(err)
	}
	promoted, err := remote.Head(tag, remote.WithAuth(&authn.Basic{Username: "writer", Password: "production-" + password}))
	if err != nil || promoted.Digest.String() != digest(t, image) {
		t.Errorf("the target holds %v, %v\n%s", promoted, err, out)
	}
	if strings.Contains(string(out), password) {
		t.Errorf("a password shows:\n%s", out)
	}
	t.Logf("%s", out)
}
