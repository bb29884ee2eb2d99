// Package imageapi is a small cluster in one process: it answers as OpenShift's image API does, as far as image stream
// tags, their imports, the workloads that follow them and the routes to these are concerned. Tests hold it in process
// and the demo runs it as a program (cmd/imageapi); neither needs a Kubernetes. Behind a real
// one it serves the image API alone, and its workloads, secrets and rights are that cluster's (see Behind).
//
// What it answers follows a recording of a real OpenShift API (testdata/recorded.json), which a test replays against it:
// generations, compare-and-set, import conditions, histories, and the words of its refusals. Imports are real: the
// manifests are read from the registry that a tag names, with the credentials in the namespace's secrets.
//
// Behind the API work the controllers that a cluster has: imports (repeated for scheduled tags), image triggers,
// rollouts, and a node. The node only pretends to run pods, or, given a Runner, really runs them.
package imageapi

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// Options say what the cluster holds and how fast it is. The zero value is a cluster with no namespace and no user,
// whose imports and triggers follow at once and whose pods are ready at once.
type Options struct {
	Namespaces []string // namespaces to begin with
	Users      []User   // who may come in; nobody else may, not even to read /version

	// RegistryCA is PEM that is added to the system's pool when the cluster reads from a registry over TLS.
	RegistryCA []byte

	ImportDelay      time.Duration // between the write of a tag and its import; default none
	ScheduleInterval time.Duration // between two imports of a scheduled tag; default 15 minutes, as on a cluster
	TriggerDelay     time.Duration // between the move of a tag and the write of a pod template; default none
	ProgressDeadline time.Duration // for Deployments that set none; default 600 s, as on a cluster

	// RouteDomain ends the hosts of routes that name none: ROUTE-NAMESPACE.DOMAIN. The default is "apps.test".
	RouteDomain string

	// Runner runs the pods. Nil means that pods are ready as soon as they are placed, without any process.
	Runner Runner

	// Faults make things go wrong; see SetFaults.
	Faults Faults

	// Log is told what the controllers do, one line a call. Nil means nobody is.
	Log func(format string, args ...any)
}

// Server is the cluster: an http.Handler that answers API requests, and the controllers behind it. Close stops them.
type Server struct {
	options  Options
	store    *store
	access   access
	importer *importer
	around   surroundings

	faultsMu sync.Mutex
	faults   Faults
	cut      chan struct{} // closed to break off the open watches

	watches  sync.WaitGroup // the open watches, which Close ends
	stopping context.Context
	stop     context.CancelFunc
	workers  sync.WaitGroup
}

// New starts a cluster. The caller serves it over http (httptest.NewServer(s), or Start) and closes it.
func New(options Options) *Server {
	s := newServer(options)
	s.around = ownCluster{s}
	for _, user := range options.Users {
		s.access.add(user)
	}
	for _, namespace := range options.Namespaces {
		s.AddNamespace(namespace)
	}
	s.start(s.controllers())
	return s
}

// Behind starts the image API of a real Kubernetes. The caller serves it over TLS, as an APIService of the cluster
// names it, and closes it. Of the options those about users, namespaces, routes and pods do not matter: they are the
// cluster's own.
func Behind(kubernetes Kubernetes, options Options) (*Server, error) {
	s := newServer(options)
	around, err := newRealCluster(s.stopping, kubernetes, &s.workers, s.store.touch)
	if err != nil {
		s.Close()
		return nil, err
	}
	s.around = around
	s.start(s.imageControllers())
	return s, nil
}

func newServer(options Options) *Server {
	if options.ScheduleInterval <= 0 {
		options.ScheduleInterval = 15 * time.Minute
	}
	if options.ProgressDeadline <= 0 {
		options.ProgressDeadline = 600 * time.Second
	}
	if options.RouteDomain == "" {
		options.RouteDomain = "apps.test"
	}
	if options.Log == nil {
		options.Log = func(string, ...any) {}
	}
	s := &Server{options: options, store: newStore(), faults: options.Faults, cut: make(chan struct{})}
	s.importer = newImporter(options.RegistryCA)
	s.stopping, s.stop = context.WithCancel(context.Background())
	return s
}

func (s *Server) start(controllers []controller) {
	for _, controller := range controllers {
		s.workers.Go(func() { s.work(controller) })
	}
}

// Close ends the controllers, the open watches and everything that the Runner runs, and waits for them.
func (s *Server) Close() {
	s.stop()
	s.workers.Wait()
	s.watches.Wait()
}

// ServeHTTP answers one API request: who is it, may they, is a fault in the way, and then the answer.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	user, err := s.around.authenticate(r)
	if err != nil {
		writeError(w, err)
		return
	}
	if s.answerFault(w, r) {
		return
	}
	if answerDiscovery(w, r, s.around.serves) {
		return
	}
	q, err := parseRequest(r)
	if err == nil && !s.around.serves(q.resource) {
		err = noSuchPath()
	}
	if err != nil {
		writeError(w, err)
		return
	}
	q.user = user
	if err := s.around.authorize(r.Context(), user, q.verb, q.resource, q.namespace, q.name); err != nil {
		writeError(w, err)
		return
	}
	s.answer(w, r, q)
}
