package main

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

//go:embed package.json
var lintPackage []byte

//go:embed package-lock.json
var lintLock []byte

// lint has tekton-lint read every YAML file below dir, and installs it in lintDir, at the version of package-lock.json.
func lint(ctx context.Context, dir, lintDir string) (files int, findings []string, err error) {
	program, err := installLint(ctx, lintDir)
	if err != nil {
		return 0, nil, err
	}
	var paths []string
	err = filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".yaml" {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	command := exec.CommandContext(ctx, "node", append([]string{program, "--format", "json", "--max-warnings", "0"}, paths...)...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err = command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return 0, nil, fmt.Errorf("running tekton-lint: %w", err)
	}
	var problems []struct {
		Path, Rule, Level, Message string
		Loc                        struct{ StartLine int }
	}
	if jsonErr := json.Unmarshal(stdout.Bytes(), &problems); jsonErr != nil {
		return 0, nil, fmt.Errorf("running tekton-lint: %w: %s%s", errors.Join(err, jsonErr), stdout.String(), stderr.String())
	}
	for _, p := range problems {
		findings = append(findings, fmt.Sprintf("%s:%d: %s: %s (%s)", p.Path, p.Loc.StartLine, p.Level, p.Message, p.Rule))
	}
	if err != nil && len(findings) == 0 {
		return 0, nil, fmt.Errorf("running tekton-lint: %w: %s", err, stderr.String())
	}
	return len(paths), findings, nil
}

// installLint makes sure that the linter is in dir, and returns its program.
func installLint(ctx context.Context, dir string) (program string, err error) {
	program = filepath.Join(dir, "node_modules", "@ibm", "tekton-lint", "dist", "lint.js")
	lock := filepath.Join(dir, "package-lock.json")
	if there, err := os.ReadFile(lock); err == nil && bytes.Equal(there, lintLock) {
		if _, err := os.Stat(program); err == nil {
			return program, nil
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, "package.json"), lintPackage, 0o644), os.WriteFile(lock, lintLock, 0o644),
	); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("installing tekton-lint: %w: %s", err, strings.TrimSpace(string(output)))
	}
	return program, nil
}
