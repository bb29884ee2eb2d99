package imageapi

import (
	"errors"
	"io"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// request is what an API path and method ask for, in the words of Kubernetes' authorization.
type request struct {
	verb            string // get, list, watch, create, update, patch, delete
	resource        resource
	namespace, name string
	subresource     string // "status" or empty
	user            User
}

// parseRequest reads /api/v1/… and /apis/GROUP/VERSION/…, and answers 404 for what the API does not know.
func parseRequest(r *http.Request) (request, error) {
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	group, version := "", ""
	switch {
	case len(parts) >= 3 && parts[0] == "api":
		version, parts = parts[1], parts[2:]
	case len(parts) >= 4 && parts[0] == "apis":
		group, version, parts = parts[1], parts[2], parts[3:]
	default:
		return request{}, noSuchPath()
	}
	var q request
	if len(parts) >= 3 && parts[0] == "namespaces" {
		q.namespace, parts = parts[1], parts[2:]
	}
	found := false
	for _, one := range resources {
		if one.group == group && one.version == version && one.plural == parts[0] {
			q.resource, found = one, true
		}
	}
	if len(parts) > 1 {
		q.name = parts[1]
	}
	if len(parts) > 2 {
		q.subresource = parts[2]
	}
	if !found || len(parts) > 3 || (q.subresource != "" && (q.subresource != "status" || !q.resource.status)) ||
		(q.resource.cluster && q.namespace != "") {
		return request{}, noSuchPath()
	}
	q.verb = verb(r, q.name)
	if q.verb == "" {
		return request{}, apierrors.NewMethodNotSupported(q.resource.groupResource(), r.Method)
	}
	return q, nil
}

func verb(r *http.Request, name string) string {
	switch {
	case r.Method == http.MethodGet && name != "":
		return "get"
	case r.Method == http.MethodGet && isTrue(r.URL.Query().Get("watch")):
		return "watch"
	case r.Method == http.MethodGet:
		return "list"
	case r.Method == http.MethodPost && name == "":
		return "create"
	case r.Method == http.MethodPut && name != "":
		return "update"
	case r.Method == http.MethodPatch && name != "":
		return "patch"
	case r.Method == http.MethodDelete && name != "":
		return "delete"
	}
	return ""
}

func isTrue(value string) bool { return value == "1" || value == "true" }

func noSuchPath() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusNotFound, Reason: metav1.StatusReasonNotFound,
		Message: "the server could not find the requested resource", Details: &metav1.StatusDetails{},
	}}
}

// maxBody bounds a request's body, as kube-apiserver does.
const maxBody = 3 << 20

// decodeBody reads the object in a request's body, and fills in and checks its name and namespace.
func decodeBody(r *http.Request, q request) (*unstructured.Unstructured, error) {
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	object := &unstructured.Unstructured{}
	if err := json.Unmarshal(body, &object.Object); err != nil || object.Object == nil {
		return nil, apierrors.NewBadRequest("the body of the request is not a JSON object")
	}
	if kind := object.GetKind(); kind != "" && kind != q.resource.kind {
		return nil, apierrors.NewBadRequest("the object is a " + kind + ", not a " + q.resource.kind)
	}
	return object, checkNames(object, q)
}

// checkNames lets the path decide, and answers 400 to a body that says something else.
func checkNames(object *unstructured.Unstructured, q request) error {
	if q.name != "" && object.GetName() != q.name {
		return apierrors.NewBadRequest("the name of the object (" + object.GetName() +
			") does not match the name on the URL (" + q.name + ")")
	}
	if namespace := object.GetNamespace(); namespace != "" && namespace != q.namespace {
		return apierrors.NewBadRequest("the namespace of the object (" + namespace +
			") does not match the namespace on the URL (" + q.namespace + ")")
	}
	if q.namespace != "" {
		object.SetNamespace(q.namespace)
	}
	return nil
}

// patchBody applies the merge patch in a request's body to a copy of before. A strategic merge patch is taken for a
// merge patch, which is the same thing as long as it replaces no list. JSON patches are answered 415.
func patchBody(r *http.Request, q request, before *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	switch strings.TrimSpace(strings.Split(r.Header.Get("Content-Type"), ";")[0]) {
	case "application/merge-patch+json", "application/strategic-merge-patch+json":
	default:
		return nil, unsupportedPatch()
	}
	body, err := readBody(r)
	if err != nil {
		return nil, err
	}
	var patch map[string]any
	if err := json.Unmarshal(body, &patch); err != nil || patch == nil {
		return nil, apierrors.NewBadRequest("the patch is not a JSON object")
	}
	after := before.DeepCopy()
	merge(after.Object, patch)
	return after, checkNames(after, q)
}

func unsupportedPatch() error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: http.StatusUnsupportedMediaType,
		Reason:  metav1.StatusReasonUnsupportedMediaType,
		Message: "the body of the request was in an unknown format - accepted media types include: application/merge-patch+json",
	}}
}

// merge applies a merge patch (RFC 7396, section 2) to target.
func merge(target, patch map[string]any) {
	for name, value := range patch {
		inner, isObject := value.(map[string]any)
		switch {
		case value == nil:
			delete(target, name)
		case isObject:
			below, ok := target[name].(map[string]any)
			if !ok {
				below = map[string]any{}
			}
			merge(below, inner)
			target[name] = below
		default:
			target[name] = value
		}
	}
}

func readBody(r *http.Request) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r.Body, maxBody+1))
	if err != nil {
		return nil, apierrors.NewBadRequest("reading the body of the request: " + err.Error())
	}
	if len(body) > maxBody {
		return nil, apierrors.NewRequestEntityTooLargeError("limit is 3145728")
	}
	return body, nil
}

// writeError answers with the Status of an API error; any other error is an internal one (500).
func writeError(w http.ResponseWriter, err error) {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		status = apierrors.NewInternalError(err)
	}
	body := status.Status()
	body.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	writeJSON(w, int(body.Code), body)
}
