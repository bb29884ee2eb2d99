package registry

import (
	"fmt"
	"net/http"

	"dockline/pkg/fault"
)

// RefusesTag tells whether an error of [Repository.Put] is one of the answers by which registries refuse to write a tag
// that is immutable or protected: the specification names none, and ECR says 400, GitLab 403, Harbor 412. Each of them
// may mean something else. What the tag holds tells: see [Repository.Lookup].
func RefusesTag(err error) bool {
	switch statusOf(err) {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusMethodNotAllowed, http.StatusConflict,
		http.StatusPreconditionFailed:
		return true
	}
	return false
}

// notWritten is failure for an answer to a write.
func (r *Repository) notWritten(answer *http.Response) error {
	err := failure(answer)
	if fault.KindOf(err) == fault.NotFound {
		err = fault.WithHint(err, "create the project or the repository in this registry first: it makes none by itself")
	}
	return r.explain(err)
}

// explain adds to "not allowed" which credentials that was, and to a refusal what can be done about it.
func (r *Repository) explain(err error) error {
	switch fault.KindOf(err) {
	case fault.Denied:
		if used := r.client.auth.keyring.find(r.path); !used.anonymous() {
			return fmt.Errorf("%w, with %s", err, used.origin)
		}
		return fmt.Errorf("%w, without credentials: none are configured for %q", err, r.registry.host)
	case fault.Refused:
		return fault.WithHint(err, refusalHint(statusOf(err)))
	}
	return err
}

func refusalHint(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "raise the limit on the body of a request, at the registry or at the proxy before it (nginx: client_max_body_size)"
	case http.StatusMethodNotAllowed:
		return "the registry may be read-only at the moment, or a cache of another one: write to that one"
	case http.StatusConflict, http.StatusPreconditionFailed:
		return "a rule of the registry forbids it, such as immutable tags: lift the rule for this tag, or use another version"
	}
	return "the registry's own words say what it does not take; it may be a rule of the registry, such as immutable tags"
}
