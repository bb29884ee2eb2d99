package verify

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/registry"
	"dockline/pkg/step"
	"dockline/steps/environment"
)

// The verdicts.
const (
	right     = "right"
	wrong     = "wrong"
	described = "described" // nothing was expected
	unknown   = "unknown"   // something needed for a verdict could not be read
)

// poll is the pause between two looks while waiting.
const poll = 2 * time.Second

// Run describes the environment and judges it, once or, with TIMEOUT, until it is right.
func (c *Config) Run(parent context.Context, rt *step.Runtime) (step.Outcome, error) {
	r := &run{Config: c, rt: rt, report: Report{
		Namespace: c.Namespace, StreamTag: c.StreamTag, Named: c.Settings.Workloads, ExpectImage: c.ExpectImage, URL: c.shownURL(), Verdict: unknown,
	}}
	err := r.do(parent)
	if err != nil && parent.Err() != nil {
		r.report.Verdict = unknown // what an earlier look found is not what this run came to
	}
	if parent.Err() == nil {
		r.readPromotion(parent)
		err = errors.Join(err, r.recordVerdict(parent))
	}
	r.report.Time = time.Now().UTC()
	if err != nil {
		r.report.Error = rt.Masked(err.Error())
	}
	r.report.table(rt.Stdout)
	outcome := step.Outcome{Report: r.report, Results: []step.Result{{Name: "VERDICT", Value: r.report.Verdict, Always: true}}}
	if r.report.Digest != "" {
		outcome.Results = append(outcome.Results, step.Result{Name: "CURRENT_DIGEST", Value: r.report.Digest})
	}
	if c.ReportDir != "" {
		err = errors.Join(err, r.report.write(rt, c.ReportDir))
	}
	return outcome, err
}

type run struct {
	*Config
	rt         *step.Runtime
	env        *environment.Environment
	otherEnv   *environment.Environment // of COMPARE_WITH; nil before the first look
	registry   *registry.Registry       // nil without REGISTRY
	repository *registry.Repository     // of EXPECT_IMAGE; nil without it
	wanted     string                   // digest that is expected; empty when none is
	report     Report
	problems   atomic.Value // string: what the last look found, none before its end; read while looking
}

func (r *run) do(parent context.Context) (err error) {
	if r.env, err = environment.Open(r.rt, r.Cluster, cluster.Patience{}, r.Settings); err != nil {
		return err
	}
	if r.Registry.Address != "" {
		if r.registry, err = r.Registry.Open(r.rt, "registry"); err != nil {
			return err
		}
	}
	ctx, ended := parent, func(err error) error { return err }
	if r.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel, ended = environment.WithTimeout(parent, r.Timeout)
		defer cancel()
	}
	defer r.rt.Waiting(ctx, r.waitingFor)()
	var finding error // of the last look that was not broken off
	for {
		err := r.look(ctx)
		r.problems.Store(r.report.problems())
		switch {
		case err != nil && ctx.Err() != nil && finding != nil:
			err = finding
		case err == nil && r.report.Verdict != wrong:
			return nil
		case err == nil:
			err = fault.WithHint(fault.New(fault.Wrong, "verifying %s/%s: %s", r.Namespace, r.StreamTagOrWorkloads(), r.report.problems()),
				cmp.Or(r.report.hint, "The report tells all that was checked."))
		case !r.mayChange(err) && ctx.Err() == nil:
			return err
		}
		if r.Timeout <= 0 || !r.judges() {
			return ended(err)
		}
		finding = err
		if cluster.Sleep(ctx, poll) != nil {
			if parent.Err() != nil {
				return fmt.Errorf("verifying %s/%s: %w", r.Namespace, r.StreamTagOrWorkloads(), cluster.Ended(parent))
			}
			return fault.New(fault.TimedOut, "%w", ended(err))
		}
	}
}

// waitingFor says what a wait is for. A run that judges nothing waits for no state.
func (r *run) waitingFor() string {
	problems, _ := r.problems.Load().(string)
	if problems == "" || !r.judges() {
		return "reading the environment"
	}
	return "waiting until the environment is right: " + problems
}

// mayChange tells whether an error may go away while others work: a stream or version that is not there yet, or a
// service that is away.
func (r *run) mayChange(err error) bool {
	return slices.Contains([]fault.Kind{fault.NotFound, fault.Unavailable}, fault.KindOf(err))
}

// look describes and judges the environment once, into the report.
func (r *run) look(ctx context.Context) error {
	report := Report{
		Namespace: r.Namespace, StreamTag: r.StreamTag, Named: r.Settings.Workloads, ExpectImage: r.ExpectImage, URL: r.shownURL(), Verdict: unknown,
		Digest: r.report.Digest, ExpectDigest: r.wanted, Checks: r.report.Checks,
	}
	if err := r.expect(ctx); err != nil {
		return err
	}
	report.ExpectDigest, report.Checks = r.wanted, nil
	if err := r.describe(ctx, &report); err != nil {
		return err
	}
	if err := r.judge(ctx, &report); err != nil {
		return err
	}
	switch {
	case !r.judges():
		report.Verdict = described
	case slices.ContainsFunc(report.Checks, func(c Check) bool { return c.Status == failed }):
		report.Verdict = wrong
	default:
		report.Verdict = right
	}
	r.report = report
	return nil
}

// expect resolves what is expected, once: EXPECT_IMAGE's digest in the registry, unless EXPECT_DIGEST gives it.
func (r *run) expect(ctx context.Context) error {
	if r.ExpectImage == "" {
		r.wanted = r.ExpectDigest
		return nil
	}
	parsed, err := image.Parse(r.ExpectImage)
	if err != nil {
		return err
	}
	r.repository = r.registry.Repository(parsed.Name) // REGISTRY is required with EXPECT_IMAGE
	if r.wanted == "" {
		r.wanted = r.ExpectDigest
	}
	if r.wanted != "" { // resolved at an earlier look: what is expected does not move while it is waited for
		return nil
	}
	manifest, err := r.repository.Resolve(ctx, parsed.Version)
	if err != nil {
		return err
	}
	r.wanted = manifest.Digest.String()
	return nil
}

// problems names the checks that failed, for the last line.
func (r Report) problems() string {
	var all []string
	for _, check := range r.Checks {
		if check.Status == failed {
			all = append(all, check.Name+": "+check.Found)
		}
	}
	if len(all) == 0 {
		return "it cannot be read yet"
	}
	return strings.Join(all, "; ")
}
