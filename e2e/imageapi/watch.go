package imageapi

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// watchLimit ends every watch after a while, as a cluster does, so that clients must be able to begin again.
const watchLimit = 30 * time.Minute

// answerWatch sends changes as they happen: those after resourceVersion, or where none is given everything that is
// there and then the changes. It ends with the client, the server, timeoutSeconds, or by a fault.
func (s *Server) answerWatch(w http.ResponseWriter, r *http.Request, q request) {
	if q.resource == imageStreamTags || q.resource == imageStreamImages || q.resource == imageStreamImports {
		writeError(w, apierrors.NewMethodNotSupported(q.resource.groupResource(), "watch"))
		return
	}
	selects, err := selector(r, q)
	if err != nil {
		writeError(w, err)
		return
	}
	s.watches.Add(1)
	defer s.watches.Done()

	limit := watchLimit
	if seconds, err := strconv.Atoi(r.URL.Query().Get("timeoutSeconds")); err == nil && seconds > 0 {
		limit = min(limit, time.Duration(seconds)*time.Second)
	}
	over := time.NewTimer(limit)
	defer over.Stop()

	cut := s.watchesCut()
	// Where the watch begins is settled before the client is told that it has begun.
	from, err := strconv.ParseInt(r.URL.Query().Get("resourceVersion"), 10, 64)
	initial := isTrue(r.URL.Query().Get("sendInitialEvents"))
	var found []*unstructured.Unstructured
	version := ""
	if err != nil || from == 0 || initial {
		found, version = s.store.list(q.resource, q.namespace)
		from, _ = strconv.ParseInt(version, 10, 64) // our own number
	}
	stream := watchStream{w: w, encoder: json.NewEncoder(w), left: s.watchBudget(r)}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusOK)
	for _, object := range found {
		if selects(object) && !stream.send("ADDED", object) {
			return
		}
	}
	if initial && !stream.send("BOOKMARK", bookmark(q.resource, version)) {
		return
	}
	for {
		changes, upTo, next, ok := s.store.since(q.resource, from)
		if !ok {
			stream.fail(apierrors.NewResourceExpired("too old resource version: " + strconv.FormatInt(from, 10)))
			return
		}
		for _, one := range changes {
			if q.namespace != "" && one.object.GetNamespace() != q.namespace {
				continue
			}
			kind, relevant := seen(one, selects)
			if relevant && !stream.send(kind, one.object) {
				return
			}
		}
		from = upTo
		stream.flush()
		select {
		case <-next:
		case <-over.C:
			return
		case <-r.Context().Done():
			return
		case <-s.stopping.Done():
			return
		case <-cut:
			return
		}
	}
}

// seen says what a change is to someone who sees only part of the objects: what stops to match is gone for them.
func seen(one change, selects func(*unstructured.Unstructured) bool) (kind string, relevant bool) {
	before := one.before != nil && selects(one.before)
	after := one.kind != "DELETED" && selects(one.object)
	switch {
	case before && after:
		return "MODIFIED", true
	case before:
		return "DELETED", true
	default:
		return "ADDED", after
	}
}

func bookmark(r resource, version string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetAPIVersion(r.apiVersion())
	object.SetKind(r.kind)
	object.SetResourceVersion(version)
	object.SetAnnotations(map[string]string{metav1.InitialEventsAnnotationKey: "true"})
	return object
}

// watchStream writes events until the client is gone or its budget is spent.
type watchStream struct {
	w       http.ResponseWriter
	encoder *json.Encoder
	left    int // events that may still be sent; negative means any number
}

func (s *watchStream) send(kind string, object any) bool {
	if s.left == 0 {
		return false
	}
	s.left--
	return s.encoder.Encode(map[string]any{"type": kind, "object": object}) == nil
}

func (s *watchStream) fail(err *apierrors.StatusError) {
	status := err.ErrStatus
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	s.send("ERROR", status)
}

func (s *watchStream) flush() {
	if flusher, ok := s.w.(http.Flusher); ok {
		flusher.Flush()
	}
}
