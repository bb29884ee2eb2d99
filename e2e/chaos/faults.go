package chaos

import (
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"dockline/e2e/faultyregistry"
)

// How often what happens: of so many requests one. Numbers without a common divisor have the faults meet in all ways.
const (
	everyFailure = 7   // 500, 503, or an answer that is lost after the work was done
	everyReset   = 23  // the connection is reset before the answer, in the middle of it, or of the request's body
	everyLimit   = 401 // 429 with Retry-After: 1, which holds up all requests
	everyExpiry  = 11  // of the requests that go on with an upload: its session has expired
)

// mostFaults is how often a call may fail. The program makes six attempts of each, and an upload is two calls: with this
// one, a run that fails has given up too early, and not met with a registry that is never there. A fault that a call is
// spared befalls the next one.
const mostFaults = 2

// faults decides what goes wrong with a request, by counting: a registry that fails every seventh request fails neither
// at random nor the same one for ever.
type faults struct {
	mu       sync.Mutex
	requests int
	uploads  int
	failures int
	due      []faultyregistry.Fault
	spent    map[string]int // faults, by call
}

// next returns what is to happen instead of the answer; nil for nothing.
func (f *faults) next(r *http.Request) faultyregistry.Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests++
	f.count()
	// The session's name is in the path: the call is known by its digest.
	call := r.Method + " " + r.URL.Path
	uploading := strings.Contains(r.URL.Path, "/blobs/uploads/") && r.Method != http.MethodPost
	if uploading {
		repository, _, _ := strings.Cut(r.URL.Path, "/blobs/uploads/")
		call = r.Method + " " + repository + " " + r.URL.RawQuery[strings.LastIndex(r.URL.RawQuery, "digest=")+1:]
		if f.uploads++; f.uploads%everyExpiry == 0 {
			f.due = append(f.due, nil) // below
		}
	}
	if len(f.due) == 0 || f.spent[call] == mostFaults {
		return nil
	}
	for i, fault := range f.due {
		expiry := fault == nil
		if expiry && !uploading {
			continue
		}
		f.due = append(f.due[:i:i], f.due[i+1:]...)
		f.spent[call]++
		if expiry {
			return faultyregistry.Status(http.StatusNotFound, "BLOB_UPLOAD_UNKNOWN")
		}
		return fault
	}
	return nil
}

// count has those faults fall due whose turn it is.
func (f *faults) count() {
	if f.requests%everyFailure == 0 {
		f.failures++
		f.due = append(f.due, []faultyregistry.Fault{
			faultyregistry.Status(http.StatusInternalServerError, "UNKNOWN"),
			faultyregistry.Status(http.StatusServiceUnavailable, ""),
			faultyregistry.Lost(),
			faultyregistry.Page(http.StatusBadGateway),
		}[f.failures%4])
	}
	if f.requests%everyReset == 0 {
		f.due = append(f.due, reset)
	}
	if f.requests%everyLimit == 0 {
		f.due = append(f.due, faultyregistry.RetryAfter(http.StatusTooManyRequests, 1))
	}
}

// reset resets the connection: in the middle of the request's body, if it has one, else in the middle of the answer's.
func reset(w http.ResponseWriter, r *http.Request, next http.Handler) {
	if r.ContentLength > 0 {
		_, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
		cut(w)
		return
	}
	whole := &cutting{ResponseWriter: w}
	next.ServeHTTP(whole, r)
	_ = http.NewResponseController(w).Flush()
	cut(w)
}

// cutting sends half of an answer's body, under a header that announces all of it.
type cutting struct{ http.ResponseWriter }

func (c *cutting) Write(body []byte) (int, error) {
	_, err := c.ResponseWriter.Write(body[:len(body)/2])
	return len(body), err
}

// cut resets the connection, as a peer does that has died: what is on its way is lost.
func cut(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := connection.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = connection.Close()
}
