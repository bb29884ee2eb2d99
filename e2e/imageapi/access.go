package imageapi

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// User is who holds a bearer token, and what they may do: the Roles and RoleBindings of a cluster in short form.
type User struct {
	Token string
	Name  string // such as system:serviceaccount:dev:dockline
	Rules []Rule // none means that the user may do nothing

	groups []string // as a real Kubernetes tells them
}

// Rule allows verbs on resources in namespaces. "*" stands for all.
type Rule struct {
	Verbs      []string // get, list, watch, create, update, patch, delete
	Resources  []string // plural names without their group, such as imagestreamtags; a subresource is deployments/status
	Namespaces []string // none means all
	Names      []string // names of single objects; none means all
}

// Admin may do everything.
var Admin = []Rule{{Verbs: []string{"*"}, Resources: []string{"*"}}}

// AddUser lets a user in, or changes what the holder of the token may do.
func (s *Server) AddUser(user User) { s.access.add(user) }

type access struct {
	mu    sync.Mutex
	users map[string]User // by token
}

func (a *access) add(user User) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.users == nil {
		a.users = map[string]User{}
	}
	a.users[user.Token] = user
}

// authenticate answers 401 for whoever brings no known token; this comes before anything else, as on a cluster.
func (a *access) authenticate(r *http.Request) (User, error) {
	token, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	a.mu.Lock()
	defer a.mu.Unlock()
	user, known := a.users[token]
	if !found || token == "" || !known {
		return User{}, unauthorized()
	}
	return user, nil
}

// unauthorized is the answer of kube-apiserver, which unlike that of apierrors.NewUnauthorized has no details.
func unauthorized() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnauthorized,
		Reason: metav1.StatusReasonUnauthorized, Message: "Unauthorized",
	}}
}

// authorize answers 403, in the usual words, unless a rule allows it.
func (a *access) authorize(user User, verb string, resource resource, namespace, name string) error {
	if resource.review() && verb == "create" {
		return nil
	}
	a.mu.Lock()
	rules := a.users[user.Token].Rules
	a.mu.Unlock()
	for _, rule := range rules {
		if has(rule.Verbs, verb) && has(rule.Resources, resource.plural) &&
			(len(rule.Namespaces) == 0 || has(rule.Namespaces, namespace)) &&
			(len(rule.Names) == 0 || slices.Contains(rule.Names, name)) {
			return nil
		}
	}
	return forbidden(user, verb, resource, namespace, name)
}

func forbidden(user User, verb string, resource resource, namespace, name string) error {
	where := fmt.Sprintf("in the namespace %q", namespace)
	if namespace == "" {
		where = "at the cluster scope"
	}
	return apierrors.NewForbidden(resource.groupResource(), name, fmt.Errorf(
		"User %q cannot %s resource %q in API group %q %s", user.Name, verb, resource.plural, resource.group, where))
}

func has(list []string, one string) bool {
	return slices.Contains(list, "*") || slices.Contains(list, one)
}
