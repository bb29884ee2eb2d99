package registry_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

// pipes is a network of one server, in memory, so that its clock can be a simulated one.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case connection := <-p.accepted:
		return connection, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.accepted <- theirs:
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

// simulated runs test with a registry that answers by serve, and that is waited for as long as by default, on a clock
// that runs as fast as all that is to happen happens.
func simulated(t *testing.T, serve http.HandlerFunc, test func(t *testing.T, repository *registry.Repository)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		network := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
		ctx, stop := context.WithCancel(t.Context())
		server := &http.Server{
			ErrorLog:    log.New(io.Discard, "", 0),
			BaseContext: func(net.Listener) context.Context { return ctx },
			Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/v2/" {
					serve(w, r)
				}
			}),
		}
		go func() { _ = server.Serve(network) }()
		opened, err := registry.Open(registry.Config{
			Address: "registry.example.com", Insecure: true, Side: "target registry", Dial: network.dial,
		})
		if err != nil {
			t.Fatal(err)
		}
		test(t, opened.Repository("a/b"))
		opened.Close()
		stop()
		_ = server.Close()
		time.Sleep(time.Second) // of the simulated clock: net/http closes a connection in two steps
	})
}

// pausing lets a time pass, unless the server is stopped or nobody listens.
func pausing(r *http.Request, pause time.Duration) {
	select {
	case <-time.After(pause):
	case <-r.Context().Done():
	}
}

// dripping writes body, so many bytes at a time with such a pause before each, until nobody listens.
func dripping(w http.ResponseWriter, r *http.Request, body []byte, bytes int, pause time.Duration) {
	for len(body) > 0 {
		pausing(r, pause)
		n := min(bytes, len(body))
		if _, err := w.Write(body[:n]); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		body = body[n:]
	}
}

// blobOf is a blob of about that size.
func blobOf(t testing.TB, size int) ([]byte, v1.Descriptor) {
	t.Helper()
	content := bytes.Repeat([]byte("dockline"), size/8)
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	return content, v1.Descriptor{Digest: digest, Size: int64(len(content))}
}

// TestAnAnswerThatDripsEnds: a server that sends a byte just before it would be silent for too long is not waited for
// without end.
func TestAnAnswerThatDripsEnds(t *testing.T) {
	t.Parallel()
	const pause = 50 * time.Second // DefaultPatience.Silence is 60
	manifest := []byte(`{"schemaVersion":2,"config":{"mediaType":"x","digest":"sha256:` + strings.Repeat("0", 64) + `","size":1}}`)
	for _, row := range []struct {
		description string
		serve       http.HandlerFunc
		kind        fault.Kind
		text        string
	}{
		{"a manifest", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
			dripping(w, r, manifest, 1, pause)
		}, fault.Unavailable, "not there in whole"},
		{"a refusal", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusForbidden)
			dripping(w, r, manifest, 1, pause)
		}, fault.Denied, "403 Forbidden"},
		{"an answer that it is not there", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusNotFound)
			dripping(w, r, manifest, 1, pause)
		}, fault.Unavailable, "not there in whole"},
		{"a failure", func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusServiceUnavailable)
			dripping(w, r, manifest, 1, pause)
		}, fault.Unavailable, "503"},
		{"a token", func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/token" {
				dripping(w, r, manifest, 1, pause)
				return
			}
			w.Header().Set("WWW-Authenticate", `Bearer realm="http://registry.example.com/token"`)
			w.WriteHeader(http.StatusUnauthorized)
		}, fault.Unavailable, "not there in whole"},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			simulated(t, row.serve, func(t *testing.T, repository *registry.Repository) {
				started := time.Now()
				_, present, err := repository.Lookup(t.Context(), "1.0")
				if present || fault.KindOf(err) != row.kind || !strings.Contains(fmt.Sprint(err), row.text) {
					t.Errorf("present: %t, error %v of kind %v; want %v with %q", present, err, fault.KindOf(err), row.kind, row.text)
				}
				if took := time.Since(started); took > 15*time.Minute {
					t.Errorf("ended after %s", took)
				}
			})
		})
	}
}

func TestABlobThatDripsEndsAndASlowOneArrives(t *testing.T) {
	t.Parallel()
	content, blob := blobOf(t, 4<<20)
	for _, row := range []struct {
		description string
		bytes       int
		pause       time.Duration
		ignoreRange bool
		lost        int // bytes after which the connection is lost, 0 for never
		arrives     bool
	}{
		{"a byte now and then", 1, 50 * time.Second, false, 0, false},
		{"a byte for each connection", 1, 0, false, 1, false},
		{"two KiB a second", 2 << 10, time.Second, false, 0, true},
		{"in bursts", 100 << 10, 55 * time.Second, false, 0, true},
		{"two KiB a second, with losses, from the start each time", 2 << 10, time.Second, true, 1 << 20, false},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			serve := func(w http.ResponseWriter, r *http.Request) {
				from := 0
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && !row.ignoreRange {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
					w.WriteHeader(http.StatusPartialContent)
				} else {
					from = 0
				}
				rest := content[from:]
				if row.lost > 0 {
					dripping(w, r, rest[:min(row.lost, len(rest))], row.bytes, row.pause)
					panic(http.ErrAbortHandler)
				}
				dripping(w, r, rest, row.bytes, row.pause)
			}
			simulated(t, serve, func(t *testing.T, repository *registry.Repository) {
				started := time.Now()
				body, err := repository.Blob(t.Context(), blob)
				if err != nil {
					t.Fatal(err)
				}
				defer body.Close()
				read, err := io.ReadAll(body)
				if row.arrives {
					if err != nil || !bytes.Equal(read, content) {
						t.Errorf("%d of %d bytes arrived: %v", len(read), len(content), err)
					}
					return
				}
				if fault.KindOf(err) != fault.Unavailable || time.Since(started) > 2*time.Hour {
					t.Errorf("error %v after %s", err, time.Since(started))
				}
			})
		})
	}
}

// made is an image of one layer.
type made struct {
	manifest registry.Manifest
	layer    []byte
}

func (m made) Manifest(context.Context, v1.Hash) (registry.Manifest, error) { return m.manifest, nil }
func (m made) Blob(context.Context, v1.Descriptor) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(m.layer)), nil
}

func TestAnUploadThatIsTakenInDripsEndsAndASlowOneArrives(t *testing.T) {
	t.Parallel()
	content, blob := blobOf(t, 4<<20)
	raw := []byte(fmt.Sprintf(`{"schemaVersion":2,"layers":[{"digest":%q,"size":%d,"mediaType":%q}]}`, blob.Digest, blob.Size, types.OCILayer))
	for _, row := range []struct {
		description string
		bytes       int64
		pause       time.Duration
		arrives     bool
	}{
		{"a few bytes now and then", 64, 50 * time.Second, false},
		{"a little, just before it would be silent for too long", 50 << 10, 4 * time.Minute, false},
		{"two KiB a second", 2 << 10, time.Second, true},
		{"whole, after four minutes", 4 << 20, 4 * time.Minute, true},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			var arrived atomic.Bool
			serve := func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case http.MethodPost:
					w.Header().Set("Location", "/v2/a/b/blobs/uploads/1")
					w.WriteHeader(http.StatusAccepted)
				case http.MethodPut:
					if strings.Contains(r.URL.Path, "/manifests/") {
						w.WriteHeader(http.StatusCreated)
						return
					}
					var err error
					for err == nil {
						pausing(r, row.pause)
						_, err = io.CopyN(io.Discard, r.Body, row.bytes)
					}
					arrived.Store(errors.Is(err, io.EOF))
					w.WriteHeader(http.StatusCreated)
				default:
					w.WriteHeader(http.StatusNotFound)
				}
			}
			simulated(t, serve, func(t *testing.T, repository *registry.Repository) {
				started := time.Now()
				from := made{registry.Manifest{MediaType: types.OCIManifestSchema1, Raw: raw}, content}
				_, err := registry.Copy(t.Context(), from, v1.Hash{}, repository, nil)
				if row.arrives {
					if err != nil || !arrived.Load() {
						t.Errorf("arrived: %t, error %v", arrived.Load(), err)
					}
					return
				}
				if fault.KindOf(err) != fault.Unavailable || time.Since(started) > 2*time.Hour {
					t.Errorf("error %v after %s", err, time.Since(started))
				}
			})
		})
	}
}

func TestANotFoundThatBreaksOffIsNoAbsence(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	server.Break("GET /manifests/1.0", -1, faultyregistry.BrokenOff(http.StatusNotFound))
	_, present, err := plain(t, server).Repository("a/b").Lookup(t.Context(), "1.0")
	if present || fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "losing the connection") {
		t.Errorf("present: %t, error %v", present, err)
	}
	if asked := count(server, "GET /v2/a/b/manifests/1.0"); asked != impatient.Attempts {
		t.Errorf("asked %d times, want %d", asked, impatient.Attempts)
	}
}

// large is an index of many manifests, each of 8 MiB.
type large struct{ fetched int }

func (l *large) Manifest(_ context.Context, digest v1.Hash) (registry.Manifest, error) {
	l.fetched++
	if l.fetched > 1 {
		return registry.Manifest{Digest: digest, Raw: []byte(`{"annotations":{"x":"` + strings.Repeat("x", 8<<20-64) + `"}}`)}, nil
	}
	var children []string
	for i := range 500 {
		children = append(children, fmt.Sprintf(`{"digest":"sha256:%064x"}`, i))
	}
	return registry.Manifest{Raw: []byte(`{"manifests":[` + strings.Join(children, ",") + `]}`)}, nil
}

func (l *large) Blob(context.Context, v1.Descriptor) (io.ReadCloser, error) { return nil, io.EOF }

func TestManifestsAreBoundedInAll(t *testing.T) {
	t.Parallel()
	target := faultyregistry.Start(t)
	source := &large{}
	_, err := registry.Copy(t.Context(), source, v1.Hash{}, plain(t, target).Repository("a/b"), nil)
	if fault.KindOf(err) != fault.Refused || !strings.Contains(err.Error(), "32 MiB") || fault.HintOf(err) == "" {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
	if source.fetched > 1 || len(target.Requests()) > 0 {
		t.Errorf("%d manifests were fetched, the target got %v", source.fetched, target.Requests())
	}
}

func TestAManifestOfEmptyDescriptorsIsNotTaken(t *testing.T) {
	t.Parallel()
	server := faultyregistry.Start(t)
	server.Break("GET /manifests/1.0", -1, func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", string(types.OCIManifestSchema1))
		fmt.Fprintf(w, `{"schemaVersion":2,"layers":[{}%s],"config":{}}`, strings.Repeat(",{}", 20_000))
	})
	_, _, err := plain(t, server).Repository("a/b").Lookup(t.Context(), "1.0")
	if fault.KindOf(err) != fault.Unavailable || !strings.Contains(err.Error(), "not a manifest") {
		t.Errorf("error %v of kind %v", err, fault.KindOf(err))
	}
}
