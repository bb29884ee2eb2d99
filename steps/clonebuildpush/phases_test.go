package clonebuildpush

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/gitserver"
	"dockline/pkg/fault"
	"dockline/pkg/kaniko"
)

func TestPhasesDoWhatOneRunDoes(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	hash := p.commit("one")
	p.env["EXTRA_TAGS"], p.env["REPORT_FILE"] = "latest", filepath.Join(p.resultDir, "report.json")
	for _, phase := range []string{phaseClone, phaseClone, phaseBuild, phaseBuild, phasePush, phasePush} { // each may be run again
		p.mustDo(phase)
		if got := p.result("IMAGE_DIGEST") + p.result("IMAGE_URL") + p.result("COMMIT"); phase != phasePush && got != "" {
			t.Errorf("PHASE=%s wrote results: %q", phase, got)
		}
		for _, dir := range []string{p.checkout, p.image} {
			if place := findText(t, dir, gitPassword, registryPassword); place != "" {
				t.Errorf("PHASE=%s left a password in %s", phase, place)
			}
		}
	}
	digest := p.digest("1.0")
	for _, tag := range []string{"commit-" + hash, "latest"} {
		if got := p.digest(tag); got != digest || got == "" {
			t.Errorf("tag %q is %q, want %q", tag, got, digest)
		}
	}
	for result, want := range map[string]string{
		"IMAGE_URL": p.registry + "/deepsky/hello:1.0", "IMAGE_DIGEST": digest, "COMMIT": hash,
	} {
		if got := p.result(result); got != want {
			t.Errorf("result %s is %q, want %q", result, got, want)
		}
	}
	asked := p.builder.requests[0]
	if p.builder.page != "one" || asked.Labels[labelRevision] != hash || asked.Labels[labelSource] != p.env["GIT_URL"] {
		t.Errorf("built %q with the labels %q", p.builder.page, asked.Labels)
	}
	if len(asked.ReadOnly) != 1 || asked.ReadOnly[0] != p.checkout {
		t.Errorf("a RUN may change all but %q", asked.ReadOnly)
	}
	var told struct{ Details report }
	if err := json.Unmarshal([]byte(p.result("report.json")), &told); err != nil {
		t.Fatal(err)
	}
	if d := told.Details; !d.Built || d.Digest != digest || d.Branch != "develop" || d.Labels[labelRevision] != hash {
		t.Errorf("report is %+v", d)
	}
}

func TestPhasesTakeTheImageOfATagsCommit(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		build       []string // more for PHASE=build
		builds      int
	}{
		{"a build that may read the registry builds nothing", []string{"REGISTRY", "{R}", "REGISTRY_INSECURE", "true", "REGISTRY_USERNAME", "pusher", "REGISTRY_PASSWORD", registryPassword}, 1},
		{"a build that knows no registry builds, and what was tested is tagged", nil, 2},
		{"a build that may not read the registry builds, too", []string{"REGISTRY", "{R}", "REGISTRY_INSECURE", "true"}, 2},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.env["IMAGE"] = "deepsky/hello"
			hash := p.commit("one")
			p.mustDo(phaseClone, phaseBuild, phasePush)
			tested := p.result("IMAGE_DIGEST")
			if err := gitserver.Tag(p.repo, "v1.0", hash, "Release"); err != nil {
				t.Fatal(err)
			}
			p.env["GIT_REVISION"] = "v1.0"
			p.mustDo(phaseClone)
			for i := range row.build {
				row.build[i] = strings.ReplaceAll(row.build[i], "{R}", p.registry)
			}
			if status, output := p.phase(phaseBuild, row.build...); status != 0 {
				t.Fatalf("exit status %d:\n%s", status, output)
			}
			p.mustDo(phasePush)
			if got := p.digest("1.0"); got != tested || p.result("IMAGE_DIGEST") != tested {
				t.Errorf("1.0 is %q and the result %q, want what was tested: %q", got, p.result("IMAGE_DIGEST"), tested)
			}
			if got := len(p.builder.requests); got != row.builds {
				t.Errorf("%d builds, want %d", got, row.builds)
			}
		})
	}
}

// TestAPhaseOutOfItsTurn ends in a line that says which phase is wanted, and pushes nothing.
func TestAPhaseOutOfItsTurn(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		before      func(p *pod)
		phase       string
		changes     []string
		status      int
		text        string
	}{
		{"a build without a clone", nil, phaseBuild, nil, 4, "run PHASE=clone before"},
		{"a push without a clone", nil, phasePush, nil, 4, "run PHASE=clone before"},
		{"a push without a build", func(p *pod) { p.mustDo(phaseClone) }, phasePush, nil, 4, "run PHASE=build before"},
		{"a push of what was built of another clone", func(p *pod) {
			p.mustDo(phaseClone, phaseBuild)
			old, _ := os.ReadFile(filepath.Join(p.image, sealedName))
			p.mustDo(phaseClone)
			_ = os.WriteFile(filepath.Join(p.image, sealedName), old, 0o600)
		}, phasePush, nil, 3, "not sealed by the build of this checkout"},
		{"a push after a build that failed", func(p *pod) {
			p.mustDo(phaseClone, phaseBuild)
			p.builder.err = fault.New(fault.BuildFailed, "RUN failed")
			p.phase(phaseBuild)
		}, phasePush, nil, 4, "run PHASE=build before"},
		{"a push after a build that was refused", func(p *pod) {
			p.mustDo(phaseClone, phaseBuild)
			p.phase(phaseBuild, "BUILD_TARGET", "nope")
		}, phasePush, nil, 4, "run PHASE=build before"},
		{"a build after one that failed", func(p *pod) {
			p.mustDo(phaseClone)
			p.builder.err = fault.New(fault.BuildFailed, "RUN failed")
			p.phase(phaseBuild)
			p.builder.err = nil
		}, phaseBuild, nil, 0, ""},
		{"a build after one that was interrupted", func(p *pod) {
			p.mustDo(phaseClone)
			p.builder.err = context.Canceled
			p.phase(phaseBuild)
			p.builder.err = nil
		}, phaseBuild, nil, 0, ""},
		{"a build after one that was killed", func(p *pod) {
			p.mustDo(phaseClone)
			_ = os.Remove(filepath.Join(p.image, sealName))
		}, phaseBuild, nil, 4, "run PHASE=clone again"},
		{"a build after one that could not end its processes", func(p *pod) {
			p.mustDo(phaseClone)
			p.builder.err = fault.New(fault.BuildFailed, "ending the build: %w", kaniko.ErrLeft)
			p.phase(phaseBuild)
			p.builder.err = nil
		}, phaseBuild, nil, 4, "run PHASE=clone again"},
		{"a build after one that crashed", func(p *pod) {
			p.mustDo(phaseClone)
			p.run = func() { panic("boom") }
			p.phase(phaseBuild)
			p.run = nil
		}, phaseBuild, nil, 4, "run PHASE=clone again"},
		{"a key of another clone", func(p *pod) {
			p.mustDo(phaseClone)
			_, other, _ := ed25519.GenerateKey(nil)
			_ = os.WriteFile(filepath.Join(p.image, sealName), other, 0o600)
		}, phaseBuild, nil, 3, "it is another's"},
		{"a push of another image", func(p *pod) { p.mustDo(phaseClone, phaseBuild) }, phasePush,
			[]string{"IMAGE", "deepsky/hello:2.0"}, 2, `IMAGE is "deepsky/hello:2.0" here`},
		{"a push of a found image that is gone", func(p *pod) {
			p.mustDo(phaseClone)
			folder, _ := os.OpenRoot(p.image)
			told, _, _ := readCheckout(p.checkout)
			key, _ := takeSeal(folder, told.Seal)
			_ = key.write(handedImage{Image: "deepsky/hello:1.0", Digest: "sha256:" + strings.Repeat("0", 64)})
		}, phasePush, nil, 4, "and is gone"},
		{"a version that is taken is not built", func(p *pod) {
			p.mustRun()
			p.mustDo(phaseClone)
		}, phaseBuild, []string{"OVERWRITE", "false", "REGISTRY", "{R}", "REGISTRY_INSECURE", "true", "REGISTRY_USERNAME", "pusher", "REGISTRY_PASSWORD", registryPassword}, 3, "OVERWRITE=true"},
		{"a version that is taken is not pushed", func(p *pod) {
			p.mustRun()
			p.mustDo(phaseClone, phaseBuild)
		}, phasePush, []string{"OVERWRITE", "false"}, 3, "OVERWRITE=true"},
		{"a wrong password for the push", func(p *pod) { p.mustDo(phaseClone, phaseBuild) }, phasePush,
			[]string{"REGISTRY_PASSWORD", "wrong-password"}, 5, "REGISTRY_PASSWORD"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			p := newPod(t)
			p.commit("one")
			if row.before != nil {
				row.before(p)
			}
			before := p.digest("1.0")
			for i := range row.changes {
				row.changes[i] = strings.ReplaceAll(row.changes[i], "{R}", p.registry)
			}
			status, output := p.phase(row.phase, row.changes...)
			if last := lastLineOf(output); status != row.status || !strings.Contains(last, row.text) {
				t.Errorf("exit status %d, want %d, with %q in the last line:\n%s", status, row.status, row.text, output)
			}
			if p.digest("1.0") != before || p.result("IMAGE_DIGEST") != "" {
				t.Error("something was pushed, or a result is there")
			}
		})
	}
}

// TestAnInsecureRegistryIsLookedUpBeforeTheBuild: the containers of a pod share /etc/hosts.
func TestAnInsecureRegistryIsLookedUpBeforeTheBuild(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	p.commit("one")
	_, port, _ := strings.Cut(p.registry, ":")
	byName := []string{"REGISTRY", "localhost:" + port}
	if status, output := p.phase(phaseClone, "REGISTRY", ""); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	p.mustDo(phaseBuild)
	if status, output := p.phase(phasePush, byName...); status != 3 || !strings.Contains(lastLineOf(output), "REGISTRY_INSECURE to PHASE=clone") {
		t.Errorf("exit status %d, want 3:\n%s", status, output)
	}
	if status, output := p.phase(phaseClone, byName...); status != 0 {
		t.Fatalf("exit status %d:\n%s", status, output)
	}
	p.mustDo(phaseBuild)
	if status, output := p.phase(phasePush, byName...); status != 0 || p.digest("1.0") == "" {
		t.Errorf("exit status %d:\n%s", status, output)
	}
}

func TestConfigurationOfThePhases(t *testing.T) {
	t.Parallel()
	p := newPod(t)
	for _, row := range []struct {
		description, phase string
		changes            []string
		texts              []string
	}{
		{"no such phase", "deploy", nil, []string{`PHASE: "deploy" is none of clone, build, push`}},
		{"everything a clone needs", phaseClone, []string{"GIT_URL", "", "CHECKOUT_DIR", "", "IMAGE_DIR", "", "IMAGE", ""},
			[]string{"CHECKOUT_DIR is missing: PHASE=clone needs it", "IMAGE_DIR is missing", "GIT_URL is missing"}},
		{"everything a build needs", phaseBuild, []string{"CHECKOUT_DIR", "", "IMAGE_DIR", "", "IMAGE", ""},
			[]string{"CHECKOUT_DIR is missing", "IMAGE_DIR is missing", "IMAGE is missing"}},
		{"everything a push needs", phasePush, []string{"CHECKOUT_DIR", "", "IMAGE_DIR", "", "IMAGE", "", "REGISTRY", ""},
			[]string{"CHECKOUT_DIR is missing", "IMAGE_DIR is missing", "IMAGE is missing", "REGISTRY is missing"}},
		{"an account without a password", phaseBuild, []string{"REGISTRY_USERNAME", "reader"}, []string{"REGISTRY is missing", "REGISTRY_PASSWORD is missing"}},
		{"secrets of others for a clone", phaseClone, []string{"REGISTRY_USERNAME", "u", "REGISTRY_PASSWORD", registryPassword, "REGISTRY_AUTH_FILE", "/x", "BUILD_SECRET_NPM", "s3cr3t-npm"},
			[]string{"REGISTRY_PASSWORD is set, and PHASE=clone has no use for it", "REGISTRY_AUTH_FILE is set", "BUILD_SECRET_NPM is set"}},
		{"secrets of others for a build", phaseBuild, []string{"GIT_PASSWORD", gitPassword, "GIT_SSH_KEY", "k", "GIT_KNOWN_HOSTS", "h"},
			[]string{"GIT_PASSWORD is set, and PHASE=build has no use for it", "GIT_SSH_KEY is set"}},
		{"secrets of others for a push", phasePush, []string{"GIT_PASSWORD", gitPassword, "BUILD_SECRET_NPM", "s3cr3t-npm"},
			[]string{"GIT_PASSWORD is set, and PHASE=push has no use for it", "BUILD_SECRET_NPM is set"}},
		{"a work tree that is there", phaseBuild, []string{"GIT_URL", "", "SOURCE_DIR", "/src"}, []string{"SOURCE_DIR is set"}},
		{"one folder for both", phaseBuild, []string{"CHECKOUT_DIR", "/volume", "IMAGE_DIR", "/volume/"}, []string{"one in the other"}},
		{"one folder in the other", phaseBuild, []string{"CHECKOUT_DIR", "/volume/a", "IMAGE_DIR", "/volume"}, []string{"one in the other"}},
		{"a relative folder", phasePush, []string{"IMAGE_DIR", "image"}, []string{`IMAGE_DIR: "image" is not an absolute path`}},
		{"a folder that is not there", phasePush, []string{"CHECKOUT_DIR", "/no/such/folder"}, []string{"CHECKOUT_DIR", "no such file"}},
		{"folders without a phase", "", []string{"GIT_PASSWORD", "", "GIT_USERNAME", ""}, []string{"CHECKOUT_DIR is set, and PHASE is not", "IMAGE_DIR is set, and PHASE is not"}},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			status, output := p.phase(row.phase, row.changes...)
			for _, text := range row.texts {
				if status != 2 || !strings.Contains(lastLineOf(output), text) {
					t.Errorf("exit status %d, want 2, with %q in the last line:\n%s", status, text, output)
				}
			}
		})
	}
}

// findText returns the first file below dir that holds one of the texts.
func findText(t *testing.T, dir string, texts ...string) string {
	t.Helper()
	found := ""
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		for _, text := range texts {
			if strings.Contains(string(content), text) {
				found = path
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func lastLineOf(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return lines[len(lines)-1]
}
