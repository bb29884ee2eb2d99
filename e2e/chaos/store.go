// Package chaos is a registry in process that fails as registries do that are overloaded, restarted or far away, and
// watches that no tag ever leads to an image of which a part is missing: for tests that kill the real program at any
// moment.
package chaos

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// Store is what a registry holds: go-containerregistry's registry, with what that one leaves out. A blob belongs to a
// repository, and can be mounted from another. What arrives in part is not kept. Like that one, and unlike others, it
// takes a manifest whose layers are not there: who relies on being refused is found out.
type Store struct {
	handler http.Handler
	blobs   *blobs
}

// NewStore returns an empty store.
func NewStore() *Store {
	s := &Store{blobs: &blobs{of: map[string]registry.BlobHandler{}}}
	s.handler = registry.New(registry.WithBlobHandler(s.blobs), registry.Logger(log.New(io.Discard, "", 0)))
	return s
}

// ServeHTTP speaks the registry's protocol, without a fault.
func (s *Store) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil || r.ContentLength >= 0 && int64(len(body)) != r.ContentLength {
		panic(http.ErrAbortHandler) // the client is gone
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	repository, upload := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/uploads/")
	if query := r.URL.Query(); r.Method == http.MethodPost && upload && query.Get("mount") != "" {
		if s.blobs.mount(r.Context(), repository, query.Get("from"), query.Get("mount")) == nil {
			w.Header().Set("Location", "/v2/"+repository+"/blobs/"+query.Get("mount"))
			w.WriteHeader(http.StatusCreated)
			return
		}
	}
	s.handler.ServeHTTP(w, r)
}

// Do has the store answer a request without a connection.
func (s *Store) Do(method, path string) *httptest.ResponseRecorder {
	recorded := httptest.NewRecorder()
	s.ServeHTTP(recorded, httptest.NewRequest(method, path, http.NoBody))
	return recorded
}

// RoundTrip implements http.RoundTripper, so that go-containerregistry's own client reads and writes the store.
func (s *Store) RoundTrip(r *http.Request) (*http.Response, error) {
	received := r.Clone(r.Context())
	received.URL.Scheme, received.URL.Host = "", "" // as a server has it
	if received.Body == nil {
		received.Body = http.NoBody
	}
	recorded := httptest.NewRecorder()
	s.ServeHTTP(recorded, received)
	answer := recorded.Result()
	answer.Request = r
	return answer, nil
}

// Reference returns how go-containerregistry's client names NAME:TAG in the store, and that it is to go there.
func (s *Store) Reference(image string) (name.Reference, remote.Option) {
	reference, err := name.ParseReference("registry.example/"+image, name.Insecure)
	if err != nil {
		panic(err)
	}
	return reference, remote.WithTransport(s)
}

// blobs keeps each repository's blobs by themselves.
type blobs struct {
	mu sync.Mutex
	of map[string]registry.BlobHandler
}

func (b *blobs) in(repository string) memory {
	b.mu.Lock()
	defer b.mu.Unlock()
	repository = strings.TrimSuffix(repository, "/blobs") // as go-containerregistry has it for uploads
	if b.of[repository] == nil {
		b.of[repository] = registry.NewInMemoryBlobHandler()
	}
	return b.of[repository].(memory)
}

// memory is all that go-containerregistry's blobs in memory do.
type memory interface {
	registry.BlobHandler
	registry.BlobStatHandler
	registry.BlobPutHandler
}

func (b *blobs) Get(ctx context.Context, repository string, digest v1.Hash) (io.ReadCloser, error) {
	return b.in(repository).Get(ctx, repository, digest)
}

func (b *blobs) Stat(ctx context.Context, repository string, digest v1.Hash) (int64, error) {
	return b.in(repository).Stat(ctx, repository, digest)
}

func (b *blobs) Put(ctx context.Context, repository string, digest v1.Hash, content io.ReadCloser) error {
	return b.in(repository).Put(ctx, repository, digest, content)
}

func (b *blobs) mount(ctx context.Context, to, from, digest string) error {
	hash, err := v1.NewHash(digest)
	if err != nil {
		return err
	}
	content, err := b.Get(ctx, from, hash)
	if err != nil {
		return err
	}
	return errors.Join(b.Put(ctx, to, hash, content), content.Close())
}
