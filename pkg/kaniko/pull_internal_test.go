package kaniko

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// puller has one image, of one layer.
type puller struct {
	layer  func() io.Reader
	digest v1.Hash
}

func (p puller) Manifest(context.Context, name.Repository, string) (string, []byte, error) {
	return "application/vnd.oci.image.manifest.v1+json",
		[]byte(`{"schemaVersion":2,"layers":[{"digest":"` + p.digest.String() + `","size":5}]}`), nil
}

func (p puller) Blob(context.Context, name.Repository, v1.Hash) (io.ReadCloser, int64, error) {
	return io.NopCloser(p.layer()), 5, nil
}

// broken is an answer that cannot be written, as when the other end has closed the connection.
type broken struct{ http.ResponseWriter }

func (broken) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestWhoseFailureAPullIs(t *testing.T) {
	t.Parallel()
	digest := v1.Hash{Algorithm: "sha256", Hex: strings.Repeat("0", 64)}
	for _, row := range []struct {
		description string
		layer       func() io.Reader
		taken       bool   // by the child
		failed      string // "" means that the pull is not what failed
		aborted     bool
	}{
		{"nobody's", func() io.Reader { return strings.NewReader("layer") }, true, "", false},
		{"the child's, which does not take it", func() io.Reader { return strings.NewReader("layer") }, false, "", true},
		{"the registry's", func() io.Reader { return failing{} }, true, "lost by the registry", true},
		{"a crash", func() io.Reader { return failing{crash: true} }, true, "crashed: ", true},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			p, err := Build{Images: []string{"registry.example.com/a/b:1"}, Puller: puller{row.layer, digest}}.startProxy()
			if err != nil {
				t.Fatal(err)
			}
			defer p.close()
			get := func(w http.ResponseWriter, path string) (aborted bool) {
				r := httptest.NewRequest(http.MethodGet, "http://registry.example.com/v2/a/b/"+path, nil)
				r.SetBasicAuth("build", p.password)
				r.Header["Proxy-Authorization"] = r.Header["Authorization"]
				defer func() {
					crash, _ := recover().(error)
					aborted = errors.Is(crash, http.ErrAbortHandler)
				}()
				p.ServeHTTP(w, r)
				return false
			}
			get(httptest.NewRecorder(), "manifests/1")
			var w http.ResponseWriter = httptest.NewRecorder()
			if !row.taken {
				w = broken{w}
			}
			if aborted := get(w, "blobs/"+digest.String()); aborted != row.aborted {
				t.Errorf("aborted: %t, want %t", aborted, row.aborted)
			}
			switch failed := p.failed(); {
			case row.failed == "" && failed != nil:
				t.Errorf("the build would report %v", failed)
			case row.failed != "" && (failed == nil || !strings.Contains(failed.Error(), row.failed)):
				t.Errorf("the build would report %v, want one with %q", failed, row.failed)
			}
		})
	}
}

type failing struct{ crash bool }

func (f failing) Read([]byte) (int, error) {
	if f.crash {
		panic("upset")
	}
	return 0, fault.New(fault.Unavailable, "lost by the registry")
}
