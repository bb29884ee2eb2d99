package chaos

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// Server serves a store over connections, with faults or without.
type Server struct {
	store  *Store
	server *httptest.Server

	mu       sync.Mutex
	faults   *faults // nil: none
	requests int
	at       int // the request that what is called before; 0 is none
	what     func() (answered bool)
	watch    func(image string)
}

// Serve serves the store on loopback, in plain http, until the test ends.
func Serve(t testing.TB, store *Store) *Server {
	t.Helper()
	s := &Server{store: store}
	s.server = httptest.NewUnstartedServer(http.HandlerFunc(s.serve))
	s.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.server.Start()
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	return s
}

// Host returns "127.0.0.1:PORT".
func (s *Server) Host() string { return s.server.Listener.Addr().String() }

// Begin counts requests from 1 again, with fresh faults or none. Before request number at is answered, what is called;
// if that returns false, the request's connection is cut instead. at 0 is for never.
func (s *Server) Begin(faulty bool, at int, what func() (answered bool)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults, s.requests, s.at, s.what = nil, 0, at, what
	if faulty {
		s.faults = &faults{spent: map[string]int{}}
	}
}

// Requests returns how many requests came since Begin.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests++
	faults, hit, what := s.faults, s.requests == s.at, s.what
	s.mu.Unlock()
	if hit && !what() {
		panic(http.ErrAbortHandler)
	}
	var next http.Handler = http.HandlerFunc(s.answer)
	if faults != nil {
		if fault := faults.next(r); fault != nil {
			fault(w, r, next)
			return
		}
	}
	next.ServeHTTP(w, r)
}

// answer has the store answer, and whoever watches look at a tag as soon as it is written.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	s.store.ServeHTTP(w, r)
	repository, tag, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/")
	s.mu.Lock()
	watch := s.watch
	s.mu.Unlock()
	if ok && watch != nil && r.Method == http.MethodPut && !strings.Contains(tag, ":") {
		watch(repository + ":" + tag)
	}
}

// Watch looks at every tag right after it is written, and at all of them every now and then until the test ends. What it
// finds missing is an error of the test: see [Store.Complete] and [Store.Recorded].
func (s *Server) Watch(t testing.TB) {
	t.Helper()
	look := func(image string) {
		if err := s.store.Complete(image); err != nil {
			t.Errorf("a tag leads to an incomplete image: %v", err)
		}
		if strings.Contains(image, ":sha256-") {
			return
		}
		if err := s.store.Recorded(image); err != nil && s.store.Digest(image) != "" {
			t.Error(err)
		}
	}
	s.mu.Lock()
	s.watch = look
	s.mu.Unlock()
	stop, ended := make(chan struct{}), make(chan struct{})
	rounds := 0
	go func() {
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			case <-time.After(watchEvery):
			}
			tags, err := s.store.Tags()
			if err != nil {
				t.Error(err)
			}
			for _, one := range tags {
				look(one)
			}
			rounds++
		}
	}()
	t.Cleanup(func() {
		close(stop)
		<-ended
		t.Logf("all tags were looked at %d times, and each when it was written", rounds)
	})
}

// watchEvery leaves the processors to what is watched.
const watchEvery = 50 * time.Millisecond
