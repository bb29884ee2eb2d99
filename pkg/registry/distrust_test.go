package registry_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

func TestAManifestOfAnotherDigestIsNotTaken(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	repository := plain(t, server).Repository("a/b")
	wanted, other := push(t, repository, "1.0", randomImage(t)), push(t, repository, "2.0", randomImage(t))
	server.Break("GET /manifests/"+wanted.Digest.String(), -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		r.URL.Path = "/v2/a/b/manifests/" + other.Digest.String()
		next.ServeHTTP(w, r) // right in itself, its Docker-Content-Digest too
	})
	_, err := repository.Manifest(t.Context(), wanted.Digest)
	if fault.KindOf(err) != fault.Wrong || !strings.Contains(err.Error(), other.Digest.String()) {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
}

func TestARedirectOutOfHTTPSIsNotFollowed(t *testing.T) {
	t.Parallel()
	secure, store := faultyregistry.StartTLS(t), faultyregistry.Start(t)
	image := randomImage(t)
	repository := open(t, registry.Config{Address: secure.Host(), CA: secure.CA()}).Repository("a/b")
	manifest := push(t, repository, "1.0", image)
	push(t, plain(t, store).Repository("a/b"), "1.0", image)
	store.Forget()
	secure.Break("GET /blobs/", -1, func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		http.Redirect(w, r, "http://"+store.Host()+r.URL.Path, http.StatusTemporaryRedirect)
	})
	_, err := repository.Inspect(t.Context(), manifest)
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "from https") || len(store.Requests()) > 0 {
		t.Errorf("error %v, the store got %v", err, store.Requests())
	}
}

func TestAnUploadThatArrivedIsNotRepeated(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	server.Break("PUT /uploads/", 2, faultyregistry.Lost())
	push(t, plain(t, server).Repository("a/b"), "1.0", randomImage(t))
	if puts := count(server, "PUT /v2/a/b/blobs/uploads/"); puts != 3 {
		t.Errorf("%d uploads of 3 blobs, of which two answers were lost", puts)
	}
}

func TestTheSourcesFailureIsNotRetriedByTheTargetAgain(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	pushed := push(t, from, "1.0", randomImage(t))
	source.Break("GET /blobs/", -1, faultyregistry.Status(500, ""))
	source.Forget()
	if _, err := registry.Copy(t.Context(), from, pushed.Digest, to, nil); err == nil {
		t.Fatal("copied without a source")
	}
	if gets := count(source, "GET /v2/a/b/blobs/"); gets > 3*impatient.Attempts {
		t.Errorf("%d requests for 3 blobs, want at most %d", gets, 3*impatient.Attempts)
	}
}

func TestALostConnectionDoesNotTurnHTTPSOff(t *testing.T) {
	t.Parallel()
	secure := faultyregistry.StartTLS(t)
	var dials atomic.Int32
	access := open(t, registry.Config{
		Address: secure.Host(), Insecure: true,
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if dials.Add(1) == 1 {
				return nil, errors.New("lost by chance")
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	if _, present, err := access.Repository("a/b").Lookup(t.Context(), "1.0"); err != nil || present {
		t.Errorf("present: %t, error %v; want absent, over https", present, err)
	}
}

func count(in *faultyregistry.Registry, prefix string) int {
	n := 0
	for _, request := range in.Requests() {
		if strings.HasPrefix(request, prefix) {
			n++
		}
	}
	return n
}
