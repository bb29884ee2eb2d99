package imageapi

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// What a user may ask of themselves, as on a cluster, where the ClusterRole system:basic-user lets everybody.
var (
	accessReviews = resource{group: "authorization.k8s.io", version: "v1", plural: "selfsubjectaccessreviews",
		kind: "SelfSubjectAccessReview", cluster: true}
	selfReviews = resource{group: "authentication.k8s.io", version: "v1", plural: "selfsubjectreviews",
		kind: "SelfSubjectReview", cluster: true}
)

func (r resource) review() bool { return r == accessReviews || r == selfReviews }

// answerReview answers by the very rules that requests are judged by. Nothing is stored.
func (s *Server) answerReview(r *http.Request, q request) (int, any, error) {
	if q.verb != "create" {
		return 0, nil, apierrors.NewMethodNotSupported(q.resource.groupResource(), q.verb)
	}
	object, err := decodeBody(r, q)
	if err != nil {
		return 0, nil, err
	}
	object.SetAPIVersion(q.resource.apiVersion())
	object.SetKind(q.resource.kind)
	if q.resource == selfReviews {
		object.Object["status"] = map[string]any{"userInfo": map[string]any{
			"username": q.user.Name, "groups": []any{"system:authenticated"},
		}}
		return http.StatusCreated, object, nil
	}
	asked, isResource, _ := unstructured.NestedMap(object.Object, "spec", "resourceAttributes")
	_, isPath, _ := unstructured.NestedMap(object.Object, "spec", "nonResourceAttributes")
	if isResource == isPath {
		return 0, nil, apierrors.NewInvalid(q.resource.groupKind(), "", field.ErrorList{field.Invalid(
			field.NewPath("spec").Child("resourceAttributes"), nil,
			"exactly one of nonResourceAttributes or resourceAttributes must be specified")})
	}
	object.Object["status"] = map[string]any{"allowed": isResource && s.access.grants(q.user, asked)}
	return http.StatusCreated, object, nil
}

// grants tells whether the user may do what a review's resourceAttributes say. As in a request, a subresource is judged as
// its resource.
func (a *access) grants(user User, asked map[string]any) bool {
	wanted := resource{group: text(asked, "group"), plural: text(asked, "resource")}
	known := false
	for _, one := range resources {
		if one.group == wanted.group && one.plural == wanted.plural {
			wanted, known = one, true
		}
	}
	if !known { // rules name resources without their group: only "*" means one that is not here
		wanted.plural = "*"
	}
	return a.authorize(user, text(asked, "verb"), wanted, text(asked, "namespace"), text(asked, "name")) == nil
}
