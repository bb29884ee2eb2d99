// Package faultyregistry is a registry in process that fails on demand: go-containerregistry's registry behind a table
// of faults, for tests of what the programs do when a registry, or what stands in front of it, misbehaves.
package faultyregistry

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
)

// Registry is a running registry. Without faults it is a well-behaved one that lets everybody in.
type Registry struct {
	server  *httptest.Server
	handler http.Handler

	mu       sync.Mutex
	faults   []*entry
	requests []string
	logins   map[string]string // password by user; nil lets everybody in
	allowed  func(user string, r *http.Request) bool
	before   func(r *http.Request)
}

type entry struct {
	match string // "METHOD part-of-path": see Break
	times int    // left; negative is without end
	fault Fault
}

// Start starts a registry that speaks plain http on loopback, and stops it when the test ends.
func Start(t testing.TB) *Registry { return start(t, httptest.NewServer) }

// StartTLS starts a registry that speaks https with a certificate that no system trusts: see [Registry.CA].
func StartTLS(t testing.TB) *Registry { return start(t, httptest.NewTLSServer) }

func start(t testing.TB, serve func(http.Handler) *httptest.Server, options ...registry.Option) *Registry {
	t.Helper()
	options = append(options, registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{handler: sayingSubject(registry.New(options...), len(options) > 1)}
	r.server = serve(http.HandlerFunc(r.serve))
	r.server.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes that are refused on purpose
	t.Cleanup(r.Stop)
	return r
}

// Stop ends the registry, cutting connections; from then on connecting is refused.
func (r *Registry) Stop() {
	r.server.CloseClientConnections()
	r.server.Close()
}

// Host returns "127.0.0.1:PORT".
func (r *Registry) Host() string { return r.server.Listener.Addr().String() }

// Break has requests answered by the fault: those whose "METHOD PATH" holds match's method (or "*" for any) at its
// start and match's rest in the path, such as "GET /manifests/1.0" or "PUT /manifests/". The first times that many (-1:
// all). Faults that were added last come first.
func (r *Registry) Break(match string, times int, fault Fault) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append([]*entry{{match: match, times: times, fault: fault}}, r.faults...)
}

// Mend removes all faults.
func (r *Registry) Mend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = nil
}

// Login has the registry ask for a user's password (HTTP Basic). It may be called for several users.
func (r *Registry) Login(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.logins == nil {
		r.logins = map[string]string{}
	}
	r.logins[user] = password
}

// Allow sets what a user who has logged in may do; other requests are answered 403 DENIED. nil allows everything.
func (r *Registry) Allow(allowed func(user string, r *http.Request) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.allowed = allowed
}

// Before sets a function that is called before a request is answered, faults and refusals included. It may block.
func (r *Registry) Before(before func(r *http.Request)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = before
}

// Requests returns all requests so far as "METHOD PATH?QUERY", those below /v2/ alone.
func (r *Registry) Requests() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.requests...)
}

// Forget empties the list of Requests.
func (r *Registry) Forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

func (r *Registry) serve(w http.ResponseWriter, request *http.Request) {
	r.mu.Lock()
	r.requests = append(r.requests, request.Method+" "+request.URL.RequestURI())
	before := r.before
	r.mu.Unlock()
	if before != nil {
		before(request)
	}
	if !r.letIn(w, request) {
		return
	}
	if fault := r.fault(request); fault != nil {
		fault(w, request, r.handler)
		return
	}
	r.handler.ServeHTTP(w, request)
}

func (r *Registry) fault(request *http.Request) Fault {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, one := range r.faults {
		method, part, _ := strings.Cut(one.match, " ")
		if one.times == 0 || method != "*" && method != request.Method || !strings.Contains(request.URL.Path, part) {
			continue
		}
		one.times--
		return one.fault
	}
	return nil
}

func (r *Registry) letIn(w http.ResponseWriter, request *http.Request) bool {
	r.mu.Lock()
	logins, allowed := r.logins, r.allowed
	r.mu.Unlock()
	if logins == nil {
		return true
	}
	user, password, _ := request.BasicAuth()
	if want, known := logins[user]; !known || want != password {
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		answer(w, http.StatusUnauthorized, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`)
		return false
	}
	if allowed != nil && !allowed(user, request) {
		answer(w, http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"requested access to the resource is denied"}]}`)
		return false
	}
	return true
}

// CA returns the certificate (PEM) to trust, of a registry that StartTLS started.
func (r *Registry) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: r.server.Certificate().Raw})
}
