package kaniko

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

const layer = "the content of a layer"

// shelf is a Puller that has the same image in every repository, and another blob beside it.
type shelf struct{}

func digestOf(content string) string {
	digest, _, _ := v1.SHA256(bytes.NewReader([]byte(content)))
	return digest.String()
}

func (shelf) Manifest(_ context.Context, _ name.Repository, reference string) (string, []byte, error) {
	if reference != "1" {
		return "", nil, fault.New(fault.NotFound, "no such tag")
	}
	return "application/vnd.oci.image.manifest.v1+json", fmt.Appendf(nil, `{"layers":[{"digest":%q,"size":%d}]}`, digestOf(layer), len(layer)), nil
}

func (shelf) Blob(context.Context, name.Repository, v1.Hash) (io.ReadCloser, int64, error) {
	return io.NopCloser(bytes.NewReader([]byte(layer))), int64(len(layer)), nil
}

// TestTheProxyServesTheBuildAlone: whoever does not know the password gets nothing, and who does gets what the Dockerfile
// names.
func TestTheProxyServesTheBuildAlone(t *testing.T) {
	t.Parallel()
	p, err := Build{Images: []string{"registry.test/deepsky/base:1"}, Puller: shelf{}}.startProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	const base = "http://registry.test/v2/deepsky/base"
	right := url.UserPassword("build", p.password)
	for _, row := range []struct {
		name, method, address string
		user                  *url.Userinfo
		status                int
	}{
		{"the manifest", "GET", base + "/manifests/1", right, 200}, // from here on the layer is known
		{"the layer", "GET", base + "/blobs/" + digestOf(layer), right, 200},
		{"the layer's size", "HEAD", base + "/blobs/" + digestOf(layer), right, 200},
		{"the specification's first question", "GET", "http://registry.test/v2/", right, 200},
		{"no password", "GET", base + "/manifests/1", nil, 407},
		{"no password for a layer", "GET", base + "/blobs/" + digestOf(layer), nil, 407},
		{"an empty password", "GET", base + "/manifests/1", url.UserPassword("build", ""), 407},
		{"a wrong password", "GET", base + "/manifests/1", url.UserPassword("build", "x"+p.password), 407},
		{"the beginning of the password", "GET", base + "/manifests/1", url.UserPassword("build", p.password[:20]), 407},
		{"a tunnel", "CONNECT", "http://registry.test:443", right, 405},
		{"a tunnel without a password", "CONNECT", "http://registry.test:443", nil, 407},
		{"an upload", "POST", base + "/blobs/uploads/", right, 405},
		{"a tag that is overwritten", "PUT", base + "/manifests/1", right, 405},
		{"a tag that is deleted", "DELETE", base + "/manifests/1", right, 405},
		{"another repository", "GET", "http://registry.test/v2/deepsky/other/manifests/1", right, 403},
		{"a way out of the repository", "GET", base + "/../other/manifests/1", right, 403},
		{"another host", "GET", "http://other.test/v2/deepsky/base/manifests/1", right, 403},
		{"the list of tags", "GET", base + "/tags/list", right, 404},
		{"the catalogue", "GET", "http://registry.test/v2/_catalog", right, 404},
		{"another tag", "GET", base + "/manifests/2", right, 404},
		{"a blob that no manifest names", "GET", base + "/blobs/" + digestOf("other"), right, 404},
	} {
		t.Run(row.name, func(t *testing.T) { // in order
			proxy := &url.URL{Scheme: "http", Host: p.listener.Addr().String(), User: row.user}
			transport := &http.Transport{Proxy: http.ProxyURL(proxy), DisableKeepAlives: true}
			request, err := http.NewRequestWithContext(t.Context(), row.method, row.address, nil)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if content, _ := io.ReadAll(answer.Body); answer.StatusCode != row.status || bytes.Contains(content, []byte(layer)) != (row.name == "the layer") {
				t.Errorf("status %d, want %d: %s", answer.StatusCode, row.status, content)
			}
		})
	}
}

// clumsy is a Puller that crashes.
type clumsy struct{ Puller }

// TestACrashOfThePullerIsTheBuildsOwn: it is neither printed by the server nor lost.
func TestACrashOfThePullerIsTheBuildsOwn(t *testing.T) {
	t.Parallel()
	p, err := Build{Images: []string{"registry.test/deepsky/base:1"}, Puller: clumsy{}}.startProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	proxy, err := url.Parse(p.url())
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}}
	answer, err := client.Get("http://registry.test/v2/deepsky/base/manifests/1")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if crash := (*fault.Crash)(nil); answer.StatusCode != http.StatusForbidden || !errors.As(p.failed(), &crash) {
		t.Errorf("status %d, failure %v", answer.StatusCode, p.failed())
	}
}

// TestTheProxyIsNoRegistry: the password is asked for by the proxy, not where a registry reads it.
func TestTheProxyIsNoRegistry(t *testing.T) {
	t.Parallel()
	p, err := Build{Images: []string{"registry.test/deepsky/base:1"}, Puller: shelf{}}.startProxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+p.listener.Addr().String()+"/v2/deepsky/base/manifests/1", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth("build", p.password)
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusProxyAuthRequired {
		t.Errorf("status %d", answer.StatusCode)
	}
}
