package imageapi

import (
	"net/http"
	"sync/atomic"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Faults make things go wrong on purpose. Each is asked whenever its occasion comes; a nil one never strikes. They may
// be called by several goroutines at once, and may call the Server (but not SetFaults).
type Faults struct {
	// Request returns the status to answer a request with (409, 429, 500 …) instead of carrying it out, or 0. Since it
	// comes before everything else, it can also change the cluster just before a request reads or writes it.
	// AbortConnection breaks the connection off without an answer.
	Request func(r *http.Request) int

	// Watch returns after how many events a watch breaks off; a negative number means never.
	Watch func(r *http.Request) int

	// Import returns the digest that an import finds under a reference, instead of the registry's, or the error that it
	// ends in, or neither.
	Import func(reference string) (digest string, err error)

	// Trigger returns true to keep the trigger controller from writing an image into a workload's template.
	Trigger func(namespace, kind, name string) bool

	// Pull returns why the node cannot pull an image, such as "manifest unknown": its pods then wait in
	// ImagePullBackOff. Crash returns with what message a pod's program ends right after its start: CrashLoopBackOff.
	Pull, Crash func(image string) (message string)

	// Stuck returns true for workloads (by name) whose pods do not become ready. Like Pull and Crash it is for pods that
	// no Runner runs, and is asked again at each change.
	Stuck func(namespace, workload string) bool
}

// AbortConnection, returned by Faults.Request, breaks the connection off without an answer.
const AbortConnection = -1

// Times returns a fault for requests of one method and path prefix: the first n of them are answered with code.
func Times(n int, method, prefix string, code int) func(*http.Request) int {
	var spent atomic.Int64
	return func(r *http.Request) int {
		if r.Method != method || len(r.URL.Path) < len(prefix) || r.URL.Path[:len(prefix)] != prefix {
			return 0
		}
		if spent.Add(1) > int64(n) {
			return 0
		}
		return code
	}
}

// SetFaults replaces all faults; SetFaults(Faults{}) ends them. The controllers look at what is to be done again.
func (s *Server) SetFaults(faults Faults) {
	s.faultsMu.Lock()
	s.faults = faults
	s.faultsMu.Unlock()
	s.store.touch()
}

// CutWatches breaks off all watches that are open now.
func (s *Server) CutWatches() {
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	close(s.cut)
	s.cut = make(chan struct{})
}

func (s *Server) fault() Faults {
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	return s.faults
}

func (s *Server) watchesCut() <-chan struct{} {
	s.faultsMu.Lock()
	defer s.faultsMu.Unlock()
	return s.cut
}

func (s *Server) watchBudget(r *http.Request) int {
	if watch := s.fault().Watch; watch != nil {
		return watch(r)
	}
	return -1
}

// answerFault answers a request that a fault is for, and returns whether it did.
func (s *Server) answerFault(w http.ResponseWriter, r *http.Request) bool {
	strikes := s.fault().Request
	if strikes == nil {
		return false
	}
	code := strikes(r)
	if code == 0 {
		return false
	}
	if code == AbortConnection {
		panic(http.ErrAbortHandler)
	}
	reasons := map[int]metav1.StatusReason{
		http.StatusConflict: metav1.StatusReasonConflict, http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests,
		http.StatusInternalServerError: metav1.StatusReasonInternalError,
		http.StatusServiceUnavailable:  metav1.StatusReasonServiceUnavailable,
		http.StatusGatewayTimeout:      metav1.StatusReasonTimeout,
	}
	if code == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	writeError(w, &apierrors.StatusError{ErrStatus: metav1.Status{
		Status: metav1.StatusFailure, Code: int32(code), Reason: reasons[code], Message: "a fault made on purpose",
	}})
	return true
}
