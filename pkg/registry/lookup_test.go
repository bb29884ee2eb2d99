package registry_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// impatient keeps the tests short: three attempts, hardly any pause.
var impatient = registry.Patience{
	Attempts: 3, First: time.Millisecond, Longest: 5 * time.Millisecond,
	LongestAsked: 2 * time.Second, Silence: time.Second,
}

func open(t testing.TB, config registry.Config) *registry.Registry {
	t.Helper()
	if config.Patience == (registry.Patience{}) {
		config.Patience = impatient
	}
	opened, err := registry.Open(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened
}

func plain(t testing.TB, server *faultyregistry.Registry) *registry.Registry {
	t.Helper()
	return open(t, registry.Config{Address: server.Host(), Insecure: true, Side: "target registry"})
}

// push writes image under tag.
func push(t testing.TB, to *registry.Repository, tag string, image interface {
	Digest() (v1.Hash, error)
	RawManifest() ([]byte, error)
	MediaType() (types.MediaType, error)
},
) registry.Manifest {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := registry.Copy(t.Context(), registry.FromImage(image), digest, to, nil); err != nil {
		t.Fatal(err)
	}
	manifest, err := to.Manifest(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := to.Put(t.Context(), manifest, tag); err != nil {
		t.Fatal(err)
	}
	return manifest
}

func randomImage(t testing.TB) v1.Image {
	t.Helper()
	image, err := random.Image(1024, 2)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func TestLookupAnswersInThreeWays(t *testing.T) {
	t.Parallel()
	const get = "GET /manifests/1.0"
	elsewhere := faultyregistry.Start(t)
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault
		times       int
		present     bool
		kind        fault.Kind // 0: no error
		text        string
	}{
		{description: "there", present: true},
		{"absent, with the code", faultyregistry.Status(404, "MANIFEST_UNKNOWN"), -1, false, 0, ""},
		{"absent, the repository too", faultyregistry.Status(404, "NAME_UNKNOWN"), -1, false, 0, ""},
		{"absent, in Harbor's words", faultyregistry.Status(404, "NOT_FOUND"), -1, false, 0, ""},
		{"absent, without a body", faultyregistry.Status(404, ""), -1, false, 0, ""},
		{"404 of a web site", faultyregistry.Page(404), -1, false, fault.Unavailable, "text/html"},
		{"404 with another code", faultyregistry.Status(404, "UNSUPPORTED"), -1, false, fault.Unavailable, "UNSUPPORTED"},
		{"400", faultyregistry.Status(400, "NAME_INVALID"), -1, false, fault.Refused, "400 Bad Request"},
		{"401", faultyregistry.Status(401, "UNAUTHORIZED"), -1, false, fault.Denied, "without credentials"},
		{"403", faultyregistry.Status(403, "DENIED"), -1, false, fault.Denied, "403 Forbidden (DENIED"},
		{"429 for ever", faultyregistry.Status(429, "TOOMANYREQUESTS"), -1, false, fault.Unavailable, "429"},
		{"429 with Retry-After, then there", faultyregistry.RetryAfter(429, 1), 1, true, 0, ""},
		{"Retry-After longer than we wait", faultyregistry.RetryAfter(429, 3600), -1, false, fault.Unavailable, "1h0m0s"},
		{"500 for ever", faultyregistry.Status(500, ""), -1, false, fault.Unavailable, "500 Internal Server Error"},
		{"500 twice, then there", faultyregistry.Status(500, ""), 2, true, 0, ""},
		{"503 for ever", faultyregistry.Page(503), -1, false, fault.Unavailable, "503"},
		{"redirect to another host", faultyregistry.Redirect("http://" + elsewhere.Host() + "/v2/"), -1, false, fault.Unavailable, "redirects to"},
		{"redirect to itself", faultyregistry.Redirect("/v2/deepsky/hello/manifests/1.0"), -1, false, fault.Unavailable, "without end"},
		{"no answer", faultyregistry.Hang(), -1, false, fault.Unavailable, "nothing moved for 1s"},
		{"no answer once, then there", faultyregistry.Hang(), 1, true, 0, ""},
		{"reset for ever", faultyregistry.Reset(0), -1, false, fault.Unavailable, "losing the connection"},
		{"reset in mid-body once, then there", faultyregistry.Reset(20), 1, true, 0, ""},
		{"reset in mid-body for ever", faultyregistry.Reset(20), -1, false, fault.Unavailable, "losing the connection"},
		{"HTML with status 200", faultyregistry.Page(200), -1, false, fault.Unavailable, "not a registry's"},
		{"truncated", faultyregistry.Truncate(50), -1, false, fault.Unavailable, "not a manifest"},
		{"empty", faultyregistry.Truncate(0), -1, false, fault.Unavailable, "not a manifest"},
		{"wrong Docker-Content-Digest", faultyregistry.WrongDigest(), -1, false, fault.Wrong, "has the digest"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			repository := plain(t, server).Repository("deepsky/hello")
			pushed := push(t, repository, "1.0", randomImage(t))
			if row.fault != nil {
				server.Break(get, row.times, row.fault)
			}
			found, present, err := repository.Lookup(t.Context(), "1.0")
			if present != row.present || present && found.Digest != pushed.Digest {
				t.Errorf("present: %t (%s), want %t (%s)", present, found.Digest, row.present, pushed.Digest)
			}
			if row.kind == 0 {
				if err != nil {
					t.Errorf("error: %v", err)
				}
				return
			}
			if err == nil || fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.text) {
				t.Errorf("error %v of kind %v, want %v with %q", err, fault.KindOf(err), row.kind, row.text)
			}
			if fault.SideOf(err) != "target registry" {
				t.Errorf("side %q", fault.SideOf(err))
			}
			if len(elsewhere.Requests()) > 0 {
				t.Errorf("followed to another host: %v", elsewhere.Requests())
			}
		})
	}
}

func TestResolveOfWhatIsAbsentIsNotFound(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	_, err := plain(t, server).Repository("deepsky/hello").Resolve(t.Context(), "1.0")
	if fault.KindOf(err) != fault.NotFound || !strings.Contains(err.Error(), `"`+server.Host()+`/deepsky/hello:1.0"`) {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	// The port of a server that has stopped would be another test's by now.
	nobody := open(t, registry.Config{Address: "127.0.0.1:1", Insecure: true})
	_, _, err := nobody.Repository("deepsky/hello").Lookup(t.Context(), "1.0")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "connecting") {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
}

func TestCancellingStopsAtOnce(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		description string
		fault       faultyregistry.Fault
	}{
		{"while waiting for an answer", faultyregistry.Hang()},
		{"while pausing between attempts", faultyregistry.RetryAfter(503, 50)},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			server := faultyregistry.Start(t)
			server.Break("* /manifests/", -1, row.fault)
			patience := impatient
			patience.Silence, patience.LongestAsked = time.Minute, time.Minute
			ctx, cancel := context.WithCancel(t.Context())
			server.Before(func(r *http.Request) {
				if strings.Contains(r.URL.Path, "/manifests/") {
					time.AfterFunc(10*time.Millisecond, cancel)
				}
			})
			opened := open(t, registry.Config{Address: server.Host(), Insecure: true, Patience: patience})
			started := time.Now()
			_, _, err := opened.Repository("a/b").Lookup(ctx, "1.0")
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			if took := time.Since(started); took > 5*time.Second {
				t.Errorf("stopped after %s", took)
			}
		})
	}
}

func TestTLS(t *testing.T) {
	t.Parallel()
	secure, unencrypted := faultyregistry.StartTLS(t), faultyregistry.Start(t)
	for _, row := range []struct {
		description string
		config      registry.Config
		text        string
	}{
		{"the CA is known", registry.Config{Address: secure.Host(), CA: secure.CA()}, ""},
		{"certificates are not checked", registry.Config{Address: secure.Host(), Insecure: true}, ""},
		{"unknown CA", registry.Config{Address: secure.Host()}, "authority that is not known"},
		{"plain http is not accepted", registry.Config{Address: unencrypted.Host()}, "answers in plain http"},
		{"plain http is accepted", registry.Config{Address: unencrypted.Host(), Insecure: true}, ""},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			_, present, err := open(t, row.config).Repository("a/b").Lookup(t.Context(), "1.0")
			if row.text == "" {
				if err != nil || present {
					t.Errorf("Lookup: %t, %v; want absent", present, err)
				}
				return
			}
			if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), row.text) {
				t.Errorf("error %v of kind %v, want %q", err, fault.KindOf(err), row.text)
			}
		})
	}
}

func TestRetriesAreTold(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	server.Break("GET /manifests/", 2, faultyregistry.Status(503, "UNAVAILABLE"))
	var told []int
	opened := open(t, registry.Config{Address: server.Host(), Insecure: true, Retrying: func(r registry.Retry) {
		if status, ok := errors.AsType[*registry.StatusError](r.Err); ok && status.Status == 503 {
			told = append(told, r.Attempt)
		}
	}})
	if _, _, err := opened.Repository("a/b").Lookup(t.Context(), "1.0"); err != nil || len(told) != 2 || told[1] != 3 {
		t.Errorf("told %v, error %v; want the attempts 2 and 3, then an answer", told, err)
	}
}
