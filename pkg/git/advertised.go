package git

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
)

// advertised keeps what an http server has answered to the listing of its references, for the fetch that follows: go-git
// asks anew, which costs a round trip, and on the server a process. It is given out once; another attempt asks the server.
type advertised struct {
	mu      sync.Mutex
	answers map[string]*http.Response // by address and account
}

// largestListing is how much of a listing is kept: that of some 100,000 references.
const largestListing = 8 << 20

type advertisedKey struct{}

// withAdvertised has the next fetch from a server take the references that the listing before it was told.
func withAdvertised(ctx context.Context) context.Context {
	return context.WithValue(ctx, advertisedKey{}, &advertised{answers: map[string]*http.Response{}})
}

// listing is a transport that keeps listings where the request's context has room for them.
type listing struct{ http.RoundTripper }

// RoundTrip implements http.RoundTripper.
func (l listing) RoundTrip(request *http.Request) (*http.Response, error) {
	kept, ok := request.Context().Value(advertisedKey{}).(*advertised)
	if !ok || request.Method != http.MethodGet || !strings.HasSuffix(request.URL.Path, "/info/refs") {
		return l.RoundTripper.RoundTrip(request)
	}
	key := request.URL.String() + "\n" + request.Header.Get("Authorization")
	if answer := kept.take(key); answer != nil {
		answer.Request = request
		return answer, nil
	}
	answer, err := l.RoundTripper.RoundTrip(request)
	if err != nil || answer.StatusCode != http.StatusOK {
		return answer, err
	}
	content, err := io.ReadAll(io.LimitReader(answer.Body, largestListing+1))
	if err != nil {
		_ = answer.Body.Close()
		return nil, err
	}
	if len(content) > largestListing {
		answer.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(content), answer.Body), answer.Body}
		return answer, nil
	}
	_ = answer.Body.Close()
	kept.put(key, answer, content)
	answer.Body = io.NopCloser(bytes.NewReader(content))
	return answer, nil
}

func (a *advertised) take(key string) *http.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	answer := a.answers[key]
	delete(a.answers, key)
	return answer
}

func (a *advertised) put(key string, answer *http.Response, content []byte) {
	again := *answer
	again.Header, again.Body = answer.Header.Clone(), io.NopCloser(bytes.NewReader(content))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answers[key] = &again
}
