package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"dockline/pkg/fault"
)

// Right is one verb on the objects of a resource in a namespace.
type Right struct {
	Verb      string // get, list, watch, create, update, patch, delete
	Resource  Resource
	Namespace string
	Name      string // of the one object that is meant, where it is known; the API knows none of what is created
}

// String returns the right in words: update imagestreamtags.image.openshift.io "hello-app:dev".
func (r Right) String() string {
	text := r.Verb + " " + r.Resource.String()
	if r.Name != "" {
		text += fmt.Sprintf(" %q", r.Name)
	}
	return text
}

// Missing asks the cluster which of these rights the user lacks, all at once, without using any of them. The order is
// that of rights. What could not be found out is not among them: then the error says why, beside those that were found.
//
// Each right is one SelfSubjectAccessReview. A SelfSubjectRulesReview would tell of all in one answer, but only of those
// that come from rules that can be listed: with a webhook among the authorizers, or a scoped token, it is incomplete, and
// a right that it leaves out is not known to be missing.
func (c *Cluster) Missing(ctx context.Context, rights []Right) ([]Right, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, longestReview, errSlowReview)
	defer cancel()
	asking := *c
	asking.retrying = onceEach(c.retrying)
	lacks, errs := make([]bool, len(rights)), make([]error, len(rights))
	var group sync.WaitGroup
	for i, right := range rights {
		group.Go(func() {
			defer fault.Catch(&errs[i])
			lacks[i], errs[i] = asking.lacks(ctx, right)
		})
	}
	group.Wait()
	var missing []Right
	for i, right := range rights {
		if lacks[i] {
			missing = append(missing, right)
		}
	}
	return missing, cmp.Or(errs...) // they have one cause: the first says enough
}

// longestReview bounds a look ahead. Whoever waits for it can do without.
const longestReview = 10 * time.Second

var errSlowReview = errors.New("the cluster does not answer in " + longestReview.String())

func (c *Cluster) lacks(ctx context.Context, right Right) (bool, error) {
	doing := fmt.Sprintf("asking whether this account may %s", right)
	status, err := c.review(ctx, doing, accessReviews, map[string]any{"resourceAttributes": map[string]any{
		"verb": right.Verb, "group": right.Resource.Group, "version": right.Resource.Version, "resource": right.Resource.Plural,
		"namespace": right.Namespace, "name": right.Name,
	}})
	if err != nil {
		return false, err
	}
	allowed, known := status["allowed"].(bool)
	if !known {
		return false, fault.At(Side, fault.New(fault.Unexpected, "%s: the answer says neither yes nor no", doing))
	}
	return !allowed, nil
}

// User returns the name that the cluster knows the user by, or "" where it does not tell (SelfSubjectReview, since
// Kubernetes 1.28).
func (c *Cluster) User(ctx context.Context) string {
	ctx, cancel := context.WithTimeout(ctx, longestReview)
	defer cancel()
	status, err := c.review(ctx, "asking who this account is", selfReviews, nil)
	if err != nil {
		return ""
	}
	name, _, _ := unstructured.NestedString(status, "userInfo", "username")
	return name
}

// review has the cluster answer a question about the user, and returns the answer's status.
func (c *Cluster) review(ctx context.Context, doing string, r Resource, spec map[string]any) (map[string]any, error) {
	question := &unstructured.Unstructured{Object: map[string]any{}}
	question.SetAPIVersion(r.APIVersion())
	question.SetKind(r.Kind)
	if spec != nil {
		question.Object["spec"] = spec
	}
	var status map[string]any
	err := c.repeat(ctx, doing, func(ctx context.Context) error {
		answer, err := c.at(c.client, r, "").Create(ctx, question, metav1.CreateOptions{})
		if err == nil {
			status, _, _ = unstructured.NestedMap(answer.Object, "status")
		}
		return err
	})
	return status, err
}

// Forbidden tells whether err is the API's refusal of a user that it knows, for want of a right. To one that it does not know
// it has nothing else to say either.
func Forbidden(err error) bool { return apierrors.IsForbidden(err) }

// onceEach tells of each attempt once, however many calls make it.
func onceEach(tell func(Retry)) func(Retry) {
	if tell == nil {
		return nil
	}
	var (
		mu   sync.Mutex
		told int
	)
	return func(again Retry) {
		mu.Lock()
		defer mu.Unlock()
		if again.Attempt > told {
			told = again.Attempt
			tell(again)
		}
	}
}

// ListRights returns rights in words for a sentence, those of one resource together: get and create services, list pods.
func ListRights(rights []Right) string {
	var parts []string
	for i := 0; i < len(rights); {
		j := i + 1
		for j < len(rights) && rights[j].Resource == rights[i].Resource && rights[j].Name == rights[i].Name {
			j++
		}
		var verbs []string
		for _, right := range rights[i:j] {
			verbs = append(verbs, right.Verb)
		}
		one := rights[i]
		one.Verb = strings.Join(slices.Compact(verbs), " and ")
		parts = append(parts, one.String())
		i = j
	}
	return strings.Join(parts, ", ")
}

var (
	accessReviews = Resource{Group: "authorization.k8s.io", Version: "v1", Plural: "selfsubjectaccessreviews", Kind: "SelfSubjectAccessReview"}
	selfReviews   = Resource{Group: "authentication.k8s.io", Version: "v1", Plural: "selfsubjectreviews", Kind: "SelfSubjectReview"}
)
