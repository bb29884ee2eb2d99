package imageapi

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/rand"
)

// answer carries out a request that is allowed.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, q request) {
	if q.verb == "watch" {
		s.answerWatch(w, r, q)
		return
	}
	code, body, err := http.StatusOK, any(nil), error(nil)
	switch q.resource {
	case imageStreamTags:
		code, body, err = s.answerTag(r, q)
	case imageStreamImages:
		body, err = s.answerStreamImage(q)
	case imageStreamImports:
		code, body, err = s.answerImport(r, q)
	case accessReviews, selfReviews:
		code, body, err = s.answerReview(r, q)
	default:
		code, body, err = s.answerObject(r, q)
	}
	if err != nil {
		writeError(w, err)
		return
	}
	writeJSON(w, code, body)
}

// answerObject serves every resource that is simply stored.
func (s *Server) answerObject(r *http.Request, q request) (int, any, error) {
	switch q.verb {
	case "get":
		object, err := s.store.get(q.resource, q.namespace, q.name)
		return http.StatusOK, object, err
	case "list":
		list, err := s.list(r, q)
		return http.StatusOK, list, err
	case "create":
		object, err := decodeBody(r, q)
		if err != nil {
			return 0, nil, err
		}
		created, err := s.create(q.resource, manage(r, q, nil, object))
		return http.StatusCreated, created, err
	case "update":
		object, err := decodeBody(r, q)
		if err != nil {
			return 0, nil, err
		}
		if before, err := s.store.get(q.resource, q.namespace, q.name); err == nil {
			object = manage(r, q, before, object)
		}
		updated, err := s.update(q, object)
		return http.StatusOK, updated, err
	case "patch":
		before, err := s.store.get(q.resource, q.namespace, q.name)
		if err != nil {
			return 0, nil, err
		}
		var after *unstructured.Unstructured
		if isApply(r) {
			after, err = s.apply(r, q, before)
		} else if after, err = patchBody(r, q, before); err == nil {
			after = manage(r, q, before, after)
		}
		if err != nil {
			return 0, nil, err
		}
		if isDry(r) {
			return http.StatusOK, after, checkVersion(q, before, after)
		}
		updated, err := s.update(q, after)
		return http.StatusOK, updated, err
	case "delete":
		if _, err := s.store.delete(q.resource, q.namespace, q.name); err != nil {
			return 0, nil, err
		}
		return http.StatusOK, success(), nil
	}
	return 0, nil, apierrors.NewMethodNotSupported(q.resource.groupResource(), q.verb)
}

func success() *metav1.Status {
	return &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusSuccess,
	}
}

// create checks and completes a new object as the cluster's strategies do, and stores it.
func (s *Server) create(r resource, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if object.GetName() == "" && object.GetGenerateName() != "" {
		object.SetName(object.GetGenerateName() + rand.String(5))
	}
	if object.GetName() == "" {
		return nil, apierrors.NewBadRequest("name or generateName is required")
	}
	if !r.cluster {
		if err := s.around.checkNamespace(s.stopping, object.GetNamespace()); err != nil {
			return nil, err
		}
	}
	object.SetResourceVersion("")
	if r == imageStreams {
		return s.createStream(object)
	}
	if _, hasSpec := object.Object["spec"]; hasSpec {
		object.SetGeneration(1)
	}
	if r.status {
		object.Object["status"] = map[string]any{}
	}
	s.complete(r, object)
	return s.store.create(r, object)
}

// update replaces the spec of an object and keeps its status, or with the subresource status the other way round. A
// changed spec raises metadata.generation.
func (s *Server) update(q request, object *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	before, err := s.store.get(q.resource, q.namespace, q.name)
	if err != nil {
		return nil, err
	}
	if q.resource == imageStreams {
		return s.updateStream(object, q.subresource == "status")
	}
	if q.subresource == "status" {
		after := before.DeepCopy()
		after.Object["status"] = object.Object["status"]
		after.SetResourceVersion(object.GetResourceVersion())
		return s.store.update(q.resource, after)
	}
	after := object.DeepCopy()
	if q.resource.status {
		after.Object["status"] = before.DeepCopy().Object["status"]
	}
	s.complete(q.resource, after)
	after.SetGeneration(before.GetGeneration())
	if before.GetGeneration() > 0 && !same(after.Object["spec"], before.Object["spec"]) {
		after.SetGeneration(before.GetGeneration() + 1)
	}
	return s.store.update(q.resource, after)
}

// list answers with what the namespace holds and both selectors match.
func (s *Server) list(r *http.Request, q request) (*unstructured.UnstructuredList, error) {
	selects, err := selector(r, q)
	if err != nil {
		return nil, err
	}
	found, version := s.store.list(q.resource, q.namespace)
	list := &unstructured.UnstructuredList{Object: map[string]any{}, Items: []unstructured.Unstructured{}}
	list.SetAPIVersion(q.resource.apiVersion())
	list.SetKind(q.resource.kind + "List")
	list.SetResourceVersion(version)
	for _, object := range found {
		if selects(object) {
			list.Items = append(list.Items, *object)
		}
	}
	return list, nil
}

// selector reads fieldSelector (of names and namespaces) and labelSelector of a list or watch.
func selector(r *http.Request, q request) (func(*unstructured.Unstructured) bool, error) {
	byField, err := fields.ParseSelector(r.URL.Query().Get("fieldSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	for _, one := range byField.Requirements() {
		if one.Field != "metadata.name" && one.Field != "metadata.namespace" && !selectsByField[one.Field] {
			return nil, apierrors.NewBadRequest("field label not supported: " + one.Field)
		}
	}
	byLabel, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return func(object *unstructured.Unstructured) bool {
		known := fields.Set{"metadata.name": object.GetName(), "metadata.namespace": object.GetNamespace()}
		if q.resource == events {
			for field := range selectsByField {
				known[field] = text(object.Object, pathOf(field)...)
			}
		}
		return byField.Matches(known) && byLabel.Matches(labels.Set(object.GetLabels()))
	}, nil
}

// selectsByField names the fields that events are looked up by.
var selectsByField = map[string]bool{
	"involvedObject.kind": true, "involvedObject.name": true, "involvedObject.namespace": true, "involvedObject.uid": true,
	"reason": true, "type": true,
}
