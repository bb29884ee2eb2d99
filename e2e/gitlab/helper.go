//go:build e2e

package gitlab

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// install has Debian's packages, Node's modules and the helper image at hand. It returns the folder of the modules.
func (p *Project) install(ctx context.Context) error {
	modules, err := filepath.Abs("../../.build/gitlab")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(modules, 0o755); err != nil { //nolint:gosec // programs
		return err
	}
	list, err := os.ReadFile("package.json")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(modules, "package.json"), list, 0o644); err != nil { //nolint:gosec // public
		return err
	}
	if err := runAll(ctx, modules, []string{"npm", "install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"}); err != nil {
		return err
	}
	p.modules = filepath.Join(modules, "node_modules")

	dir, err := os.MkdirTemp("", "helper-image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if err := runAll(ctx, "", []string{"./helper.sh", dir}); err != nil {
		return err
	}
	out, err := p.engine.Command(ctx, "build", "--quiet", "--network", "host", "--tag", helperImage, dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("making gitlab-ci-local's helper image: %w: %s", err, out)
	}
	return nil
}

func runAll(ctx context.Context, dir string, commands ...[]string) error {
	for _, words := range commands {
		command := exec.CommandContext(ctx, words[0], words[1:]...) //nolint:gosec // ours
		command.Dir = dir
		if out, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w: %s", words[0], err, out)
		}
	}
	return nil
}
