package registry_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// shortLived is a registry whose tokens live for a short while, by the clock of the test, and whose blobs take their time.
type shortLived struct {
	life   time.Duration
	told   int           // seconds that the token service says, 0 for none
	each   time.Duration // that a blob takes to be uploaded
	refuse func(r *http.Request) bool

	mu      sync.Mutex
	issued  int
	valid   map[string]time.Time // until when, by token
	asking  int                  // requests for a token under way
	most    int                  // of these, at once
	refused []string
	next    http.Handler
}

func (s *shortLived) start() *shortLived {
	s.valid = map[string]time.Time{}
	s.next = ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	return s
}

func (s *shortLived) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.token(w, r)
		return
	}
	if !s.letIn(r) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="http://registry.example.com/token",service="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if (r.Method == http.MethodPut || r.Method == http.MethodPatch) && strings.Contains(r.URL.Path, "/uploads/") {
		pausing(r, s.each)
	}
	s.next.ServeHTTP(w, r)
}

func (s *shortLived) letIn(r *http.Request) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if bearer && time.Now().Before(s.valid[token]) && (s.refuse == nil || !s.refuse(r)) {
		return true
	}
	if bearer {
		s.refused = append(s.refused, r.Method+" "+r.URL.Path)
	}
	return false
}

func (s *shortLived) token(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.issued++
	s.asking++
	s.most = max(s.most, s.asking)
	value := fmt.Sprintf("token-%d", s.issued)
	s.mu.Unlock()
	pausing(r, 100*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asking--
	s.valid[value] = time.Now().Add(s.life)
	expires := ""
	if s.told > 0 {
		expires = fmt.Sprintf(`,"expires_in":%d`, s.told)
	}
	fmt.Fprintf(w, `{"token":%q%s}`, value, expires)
}

func layers(t testing.TB, count int64) v1.Image {
	t.Helper()
	image, err := random.Image(2048, count)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// TestTokensAreRenewedInMidCopy: a copy that takes longer than a token lives, with a registry that looks at it for each
// request.
func TestTokensAreRenewedInMidCopy(t *testing.T) {
	t.Parallel()
	image := layers(t, 30)
	for _, row := range []struct {
		description string
		life        time.Duration
		told        int
		refusals    int // of requests with an expired token, at most
	}{
		{"ten seconds, and the token service says so", 10 * time.Second, 10, 0},
		{"five minutes, and it says so", 5 * time.Minute, 300, 0},
		{"a minute, and it says nothing", time.Minute, 0, 0},
		{"ten seconds, and it says five minutes", 10 * time.Second, 300, 60},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := (&shortLived{life: row.life, told: row.told, each: 7 * time.Second}).start()
			simulated(t, server.serve, func(t *testing.T, repository *registry.Repository) {
				digest, err := image.Digest()
				if err != nil {
					t.Fatal(err)
				}
				copied, err := registry.Copy(t.Context(), registry.FromImage(image), digest, repository, nil)
				if err != nil || copied.Blobs != 31 {
					t.Fatalf("%d blobs copied: %v", copied.Blobs, err)
				}
				if len(server.refused) > row.refusals {
					t.Errorf("requests with an expired token: %v", server.refused)
				}
			})
		})
	}
}

// TestManyRequestsAskForOneToken: those that find the token expired wait for one new one, and a late 401 to the old one
// does not throw the new one away.
func TestManyRequestsAskForOneToken(t *testing.T) {
	t.Parallel()
	server := (&shortLived{life: 10 * time.Second, told: 10}).start()
	simulated(t, server.serve, func(t *testing.T, repository *registry.Repository) {
		for round := range 3 {
			var group sync.WaitGroup
			for range 40 {
				group.Go(func() {
					if _, present, err := repository.Lookup(t.Context(), "1.0"); present || err != nil {
						t.Errorf("Lookup: %t, %v", present, err)
					}
				})
			}
			group.Wait()
			if server.issued != round+1 {
				t.Errorf("round %d: %d tokens were asked for", round, server.issued)
			}
			switch round {
			case 0:
				time.Sleep(9 * time.Second) // of the simulated clock
			case 1: // revoked, and nobody says so
				server.mu.Lock()
				clear(server.valid)
				server.mu.Unlock()
			}
		}
		if server.most != 1 {
			t.Errorf("%d requests for a token at once", server.most)
		}
	})
}

// TestARefusalInMidUploadIsBounded: a token that is refused within an upload session is renewed and the blob sent again,
// but not for ever.
func TestARefusalInMidUploadIsBounded(t *testing.T) {
	t.Parallel()
	image := layers(t, 1)
	upload := func(r *http.Request) bool {
		return (r.Method == http.MethodPut || r.Method == http.MethodPatch) && strings.Contains(r.URL.Path, "/uploads/")
	}
	for _, row := range []struct {
		description string
		refusals    int
		arrives     bool
	}{
		{"once", 1, true},
		{"always", -1, false},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := (&shortLived{life: time.Hour, told: 3600}).start()
			left := row.refusals
			server.refuse = func(r *http.Request) bool {
				if left == 0 || !upload(r) {
					return false
				}
				left--
				return true
			}
			simulated(t, server.serve, func(t *testing.T, repository *registry.Repository) {
				digest, err := image.Digest()
				if err != nil {
					t.Fatal(err)
				}
				_, err = registry.Copy(t.Context(), registry.FromImage(image), digest, repository, nil)
				if row.arrives {
					if _, present, lookup := repository.Lookup(t.Context(), digest.String()); err != nil || !present || lookup != nil {
						t.Errorf("copying: %v; the image is there: %t, %v", err, present, lookup)
					}
					return
				}
				server.mu.Lock()
				defer server.mu.Unlock()
				if fault.KindOf(err) != fault.Denied || server.issued > 10 || len(server.refused) > 20 {
					t.Errorf("error %v of kind %v, %d tokens, %d refusals", err, fault.KindOf(err), server.issued, len(server.refused))
				}
			})
		})
	}
}
