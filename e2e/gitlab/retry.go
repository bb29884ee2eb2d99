//go:build e2e

package gitlab

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"sigs.k8s.io/yaml"
)

// retry is what a job says of being started again, in the resolved pipeline.
type retry struct {
	Max       int   `json:"max"`
	ExitCodes []int `json:"exit_codes"`
}

// RunRetried runs one job, and starts it again as GitLab does: when its exit status is one that the job's `retry` names,
// and not more often than that says (https://docs.gitlab.com/ci/yaml/#retryexit_codes). GitLab's part is played here,
// since gitlab-ci-local (4.75.0) checks the form of `retry`, and starts nothing again. Before is called before each run,
// with its number. The runs are returned, in their order.
func (p *Project) RunRetried(ctx context.Context, name string, before func(number int)) (runs []Job, err error) {
	settings, err := p.retry(ctx, name)
	if err != nil {
		return nil, err
	}
	for number := 1; ; number++ {
		before(number)
		run, err := p.Run(ctx, nil, name)
		if err != nil {
			return nil, err
		}
		runs = append(runs, run)
		if run.Status == 0 {
			return runs, nil
		}
		status, err := run.failure(name)
		if err != nil {
			return nil, err
		}
		if number > settings.Max || !slices.Contains(settings.ExitCodes, status) {
			return runs, nil
		}
	}
}

// retry reads the job's `retry` from the pipeline as gitlab-ci-local resolves it: with its includes, inputs and extends.
func (p *Project) retry(ctx context.Context, name string) (retry, error) {
	resolved, err := p.command(ctx, "--preview").Output()
	if err != nil {
		return retry{}, fmt.Errorf("resolving the pipeline: %w", err)
	}
	var jobs map[string]any
	if err := yaml.Unmarshal(resolved, &jobs); err != nil {
		return retry{}, fmt.Errorf("reading the resolved pipeline: %w\n%s", err, resolved)
	}
	text, err := yaml.Marshal(jobs[name])
	if err != nil {
		return retry{}, err
	}
	var job struct {
		Retry *retry `json:"retry"`
	}
	if err := yaml.Unmarshal(text, &job); err != nil {
		return retry{}, err
	}
	if job.Retry == nil {
		return retry{}, errors.New("the job " + name + " has no retry")
	}
	return *job.Retry, nil
}

var failed = regexp.MustCompile(`(?m)^(\S+) +finished in .* FAIL ([0-9]+)`)

// failure is the exit status of a job that failed.
func (j Job) failure(name string) (int, error) {
	for _, line := range failed.FindAllStringSubmatch(j.Output, -1) {
		if line[1] == name {
			return strconv.Atoi(line[2])
		}
	}
	return 0, fmt.Errorf("the output does not tell the exit status of %s:\n%s", name, j.Output)
}
