package workload

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
	"dockline/pkg/image"
	"dockline/pkg/imagestream"
)

// Target is the image that the followers of a stream tag should run, or with Wanted what the workloads should that it
// names.
type Target struct {
	Name       imagestream.Name
	Digest     string   // as the stream tag has it; pod templates carry this one
	Children   []string // digests of an index's images: a pod may report one of them
	Repository string   // HOST/NAME, without a tag; finds workloads that use the image without following the tag
	Wanted     []Wanted // instead of all of the above
}

// String returns STREAM:TAG, or the names of the workloads.
func (t Target) String() string {
	if len(t.Wanted) == 0 {
		return t.Name.String()
	}
	var names []string
	for _, wanted := range t.Wanted {
		names = append(names, wanted.Named.String())
	}
	return strings.Join(names, ",")
}

// Survey is what the workloads of a namespace have to do with a target.
type Survey struct {
	Followers []Follower // those with a trigger on the stream tag, or those that are named
	Loose     []string   // those that use the image's repository without one: "Deployment x (container app)"
}

// Follower is one container of one workload that follows the stream tag.
type Follower struct {
	Workload  string // "Deployment hello-app"
	Container string
	Image     string // in the pod template
	Phase     Phase
	Message   string // in words, how far it is and what is wrong
	Pods      []Pod
}

// Survey looks at the workloads of the namespace once, or with Target.Wanted at these alone.
func (c *Client) Survey(ctx context.Context, target Target) (Survey, error) {
	if len(target.Wanted) > 0 {
		return c.surveyNamed(ctx, target.Wanted)
	}
	all, err := c.List(ctx)
	if err != nil {
		return Survey{}, err
	}
	var survey Survey
	for _, w := range all {
		triggers := w.Follows(target.Name, c.namespace)
		for _, trigger := range triggers {
			follower, err := c.look(ctx, w, trigger, target)
			if err != nil {
				return Survey{}, err
			}
			survey.Followers = append(survey.Followers, follower)
		}
		if len(triggers) == 0 {
			survey.Loose = append(survey.Loose, w.loose(target)...)
		}
	}
	return survey, nil
}

func (c *Client) look(ctx context.Context, w Workload, trigger Trigger, target Target) (Follower, error) {
	follower := Follower{Workload: w.String(), Container: trigger.Container}
	for _, container := range w.Containers {
		if container.Name == trigger.Container {
			follower.Image = container.Image
		}
	}
	var err error
	if follower.Pods, err = c.pods(ctx, w, trigger.Container); err != nil {
		return Follower{}, err
	}
	switch carries := image.DigestOf(follower.Image) == target.Digest; {
	case trigger.Problem != "":
		follower.Phase, follower.Message = Untriggered, "its image trigger is broken: "+trigger.Problem
	case !carries && trigger.Paused:
		follower.Phase, follower.Message = Untriggered, "its image trigger is paused"
	case !carries:
		follower.Phase, follower.Message = Waiting, "its image trigger has not written the digest into the pod template yet"
	default:
		follower.Phase, follower.Message = w.progress()
		follower.judgePods(append([]string{target.Digest}, target.Children...))
	}
	return follower, nil
}

// judgePods corrects a phase that the workload's status alone gives: a rollout is complete when the pods run the image.
func (f *Follower) judgePods(digests []string) {
	for _, pod := range f.Pods {
		if !pod.Leaving && f.Phase == Complete && !pod.Runs(digests) {
			f.Phase = RollingOut
			f.Message = fmt.Sprintf("pod %s runs %s", pod.Name, orUnknown(pod.Digest))
		}
	}
	f.tellTrouble()
}

// tellTrouble adds to the message what keeps the new pods from running.
func (f *Follower) tellTrouble() {
	var trouble []string
	for _, pod := range f.Pods {
		if pod.Leaving {
			continue
		}
		if pod.Trouble != "" && f.isNew(pod) {
			trouble = append(trouble, fmt.Sprintf("pod %s: %s", pod.Name, pod.Trouble))
		}
	}
	if len(trouble) > 0 && f.Phase != Complete {
		f.Message = strings.Join(append([]string{f.Message}, trouble...), "; ")
	}
}

// isNew tells whether the pod was made from the present template.
func (f *Follower) isNew(pod Pod) bool { return pod.Image == f.Image }

func orUnknown(digest string) string {
	if digest == "" {
		return "an image whose digest is not known yet"
	}
	return digest
}

// loose tells which containers use the target's repository although no trigger would tell them of a new image.
func (w Workload) loose(target Target) []string {
	var found []string
	for _, container := range w.Containers {
		if repository, _, _ := image.SplitReference(container.Image); repository == target.Repository && repository != "" {
			found = append(found, fmt.Sprintf("%s (container %s)", w, container.Name))
		}
	}
	for _, trigger := range w.Triggers {
		if len(found) > 0 && trigger.Problem != "" && trigger.StreamTag == "" {
			found[0] += ": " + trigger.Problem
		}
	}
	return found
}

// Done tells whether nothing is left to wait for: each follower is complete, held, or not triggered.
func (s Survey) Done() bool {
	return !slices.ContainsFunc(s.Followers, func(f Follower) bool {
		return f.Phase == Waiting || f.Phase == RollingOut || f.Phase == Failed
	})
}

// Patience says how a rollout is watched.
type Patience struct {
	Poll    time.Duration // pause between two surveys
	Failing time.Duration // how long a pod may be in the same fatal trouble, such as ImagePullBackOff, before it counts as failed
}

// DefaultPatience gives a pod a minute to get out of trouble, since one that waits for its database crashes a few times.
var DefaultPatience = Patience{Poll: time.Second, Failing: time.Minute}

// Await surveys until nothing is left to wait for, and returns the last survey, also beside an error. A rollout that
// the cluster has given up, or whose pods stay in trouble, is an error of kind fault.Wrong. hook, which may be nil, is
// called with each survey.
func (c *Client) Await(ctx context.Context, target Target, patience Patience, hook func(Survey)) (Survey, error) {
	if patience == (Patience{}) {
		patience = DefaultPatience
	}
	var last Survey
	troubled := map[string]time.Time{}
	for {
		survey, err := c.Survey(ctx, target)
		if err != nil {
			return last, err
		}
		last = survey
		if hook != nil {
			hook(survey)
		}
		if err := survey.failed(troubled, patience.Failing); err != nil {
			return last, fault.At(cluster.Side, err)
		}
		if survey.Done() {
			return last, nil
		}
		if err := cluster.Sleep(ctx, patience.Poll); err != nil {
			return last, fmt.Errorf("waiting for the rollout of %s: %w", target, err)
		}
	}
}

// failed keeps in troubled since when each pod is in fatal trouble.
func (s Survey) failed(troubled map[string]time.Time, longest time.Duration) error {
	for _, follower := range s.Followers {
		if follower.Phase == Failed {
			return fault.New(fault.Wrong, "rolling out %s: %s", follower.Workload, follower.Message)
		}
		for _, pod := range follower.Pods {
			if pod.Ready || pod.Leaving || !follower.isNew(pod) || follower.Phase != RollingOut {
				delete(troubled, pod.Name)
				continue
			}
			since, known := troubled[pod.Name]
			switch {
			case !pod.Fatal: // between two crashes a container looks well for a moment
			case !known:
				troubled[pod.Name] = time.Now()
			case time.Since(since) >= longest:
				return fault.New(fault.Wrong, "rolling out %s: pod %s: %s", follower.Workload, pod.Name, pod.Trouble)
			}
		}
	}
	return nil
}
