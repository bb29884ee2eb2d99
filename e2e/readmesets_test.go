package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/faultyregistry"
)

// TestReadmeSets runs the README's commands for a set, its plan and undoing as they are written, one shell for all.
func TestReadmeSets(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(readme), "\n## Sets, plans, undo\n")
	section, _, _ = strings.Cut(section, "\n## ")
	var script strings.Builder
	for _, example := range regexp.MustCompile("(?s)```sh\n(.*?)```").FindAllStringSubmatch(section, -1) {
		script.WriteString(example[1])
	}
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	web := digest(t, push(t, source, "deepsky/shop-web:1.0-rc.3"))
	other := digest(t, push(t, source, "deepsky/shop-web:1.0-rc.4"))
	api := digest(t, push(t, source, "deepsky/shop-api:1.0-rc.7"))

	dir := t.TempDir()
	if err := os.Symlink(programs, filepath.Join(dir, "bin")); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("sh", "-e", "-c", script.String())
	command.Dir = dir
	command.Env = []string{
		"IMAGE=" + hello + ":1.0", "SOURCE_REGISTRY=" + source.Host(), "TARGET_REGISTRY=" + target.Host(),
		"SOURCE_REGISTRY_INSECURE=true", "TARGET_REGISTRY_INSECURE=true",
	}
	out, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for at, want := range map[string]string{
		"deepsky/shop-web:1.0": web, "deepsky/shop-api:1.0": api,
		"deepsky/shop-web:1.0-replaced-" + web[7:15]: web, "deepsky/shop-web:1.0-replaced-" + other[7:15]: other,
	} {
		tag, err := name.NewTag(target.Host() + "/" + at)
		if err != nil {
			t.Fatal(err)
		}
		if held, err := remote.Head(tag); err != nil || held.Digest.String() != want {
			t.Errorf("%s holds %v, %v; want %s\n%s", at, held, err, want, out)
		}
	}
	plan, err := os.ReadFile(filepath.Join(dir, "plan.md"))
	if err != nil || !strings.Contains(string(plan), "2 images from") {
		t.Errorf("plan.md: %v\n%s", err, plan)
	}
	if !strings.Contains(string(out), "2 images: 2 copied\n") || !strings.Contains(string(out), "carrying out the plan") {
		t.Errorf("the output is not what the README shows:\n%s", out)
	}
	t.Logf("%s\n%s", out, plan)
}
