package imageapi_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	ggcr "github.com/google/go-containerregistry/pkg/registry"

	"dockline/e2e/certificate"
	"dockline/e2e/imageapi"
)

// TestImport imports from registries that one cannot simply read from.
func TestImport(t *testing.T) {
	t.Parallel()
	const denied = `you may not have access to the container image "HOST/deepsky/hello:1.0"`
	for _, test := range []struct {
		description string
		over        func(http.Handler) *httptest.Server
		prepare     func(w *imageapi.Server, host string)
		policy      string
		trust       bool   // the cluster trusts the registry's certificate
		want        string // the digest's place or the condition
	}{
		{"private, no account", private, nil, `"insecure":true`, false, "Unauthorized: " + denied},
		{"private, account of the registry", private, account("", "secret"), `"insecure":true`, false, "imported"},
		{"private, account of the code", private, account("/deepsky", "secret"), `"insecure":true`, false, "imported"},
		{"private, account of another code", private, account("/other", "secret"), `"insecure":true`, false, "Unauthorized: " + denied},
		{"private, wrong password", private, account("", "guess"), `"insecure":true`, false, "Unauthorized: " + denied},
		{"private, a wrong account for the longer path and the right one", private, func(w *imageapi.Server, host string) {
			account("/deepsky", "guess")(w, host)
			account("", "secret")(w, host)
		}, `"insecure":true`, false, "imported"},
		{"TLS, trusted", httptest.NewTLSServer, nil, ``, true, "imported"},
		{"TLS, insecure", httptest.NewTLSServer, nil, `"insecure":true`, false, "imported"},
		{"TLS, not trusted", httptest.NewTLSServer, nil, ``, false, "InternalError: Internal error occurred: " +
			`HOST/deepsky/hello:1.0: Get "https://HOST/v2/": tls: failed to verify certificate: x509: ` +
			"certificate signed by unknown authority"},
		{"a registry that is broken", func(http.Handler) *httptest.Server {
			return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(http.StatusBadGateway)
			}))
		}, nil, `"insecure":true`, false, "InternalError"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			handler := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
			open := httptest.NewServer(handler)
			t.Cleanup(open.Close)
			config := []byte(`{"architecture":"amd64","os":"linux","config":{}}`)
			digest := putImage(t, open.URL, "deepsky/hello", "1.0", config)
			registry := test.over(handler)
			t.Cleanup(registry.Close)
			registry.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are what is tested
			host := registry.Listener.Addr().String()
			options := imageapi.Options{}
			if test.trust {
				options.RegistryCA = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: registry.Certificate().Raw})
			}
			w := newWorld(t, options)
			if test.prepare != nil {
				test.prepare(w.Server, host)
			}
			w.image = host + "/deepsky/hello"
			w.write("1.0", test.policy)
			got := ""
			w.until("the import is over", func() bool {
				stream := w.object("imagestreams", "hello")
				if head := w.head(); head != "" {
					got = strings.Replace(head, digest, "imported", 1)
				}
				for _, one := range list(stream, "status", "tags", "conditions") {
					got = strings.ReplaceAll(fmt.Sprint(one["reason"], ": ", one["message"]), host, "HOST")
				}
				return got != ""
			})
			if !strings.HasPrefix(got, test.want) {
				t.Errorf("the import came to %q, want %q", got, test.want)
			}
		})
	}
}

func private(handler http.Handler) *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "robot" || password != "secret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		handler.ServeHTTP(w, r)
	}))
}

func account(path, password string) func(*imageapi.Server, string) {
	return func(w *imageapi.Server, host string) {
		if err := w.AddPullSecret("dev", "pull"+strings.ReplaceAll(path, "/", "-"), host+path, "robot", password); err != nil {
			panic(err)
		}
	}
}

// TestScheduled pushes another image under the same version: only a scheduled tag follows by itself.
func TestScheduled(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{ScheduleInterval: 20 * time.Millisecond})
	w.tag("1.0")
	once := w.digests["1.0"]
	w.push("1.0", "patched")
	scheduled := fmt.Sprintf(`{"metadata":{"name":"other:dev"},"tag":{"name":"dev","generation":0,"from":{"kind":"DockerImage",`+
		`"name":"%s:1.0"},"importPolicy":{"insecure":true,"scheduled":true}}}`, w.image)
	if status, answer := send(t, "PUT", w.url+devTags+"/other:dev", "application/json", scheduled, ""); status != 201 {
		t.Fatalf("writing the tag was answered %d: %v", status, answer)
	}
	other := func() []map[string]any { return list(w.object("imagestreams", "other"), "status", "tags", "items") }
	for _, what := range []string{"patched", "patched again", "patched once more"} {
		w.push("1.0", what)
		w.until("the scheduled tag follows", func() bool { return len(other()) > 0 && other()[0]["image"] == w.digests["1.0"] })
	}
	version := w.object("imagestreams", "other")["metadata"].(map[string]any)["resourceVersion"]
	requests := 0
	w.until("some more imports have found nothing new", func() bool { requests++; return requests > 50 })
	if now := w.object("imagestreams", "other")["metadata"].(map[string]any)["resourceVersion"]; now != version {
		t.Errorf("imports that found nothing new wrote version %s over %s", now, version)
	}
	if got := w.head(); got != once {
		t.Errorf("the tag that is not scheduled is at %s, want %s still", got, once)
	}
	w.write("1.0", `"insecure":true`)
	w.until("writing it again imports it again", func() bool { return w.head() == w.digests["1.0"] })
}

// TestHistory looks at how the times and generations of a tag's items relate.
func TestHistory(t *testing.T) {
	t.Parallel()
	w := newWorld(t, imageapi.Options{})
	for _, version := range []string{"1.0", "1.1", "1.1", "1.0"} {
		w.tag(version)
		w.until("the import of this generation is over", func() bool { return settled(plain(t, w.object("imagestreams", "hello"))) })
	}
	var got []string
	previous := ""
	for _, item := range list(w.object("imagestreams", "hello"), "status", "tags", "items") {
		got = append(got, fmt.Sprint(item["generation"], " ", item["image"]))
		if created := item["created"].(string); previous != "" && created > previous {
			t.Errorf("an older item was created at %s, after %s", created, previous)
		}
		previous = item["created"].(string)
	}
	want := []string{"8 " + w.digests["1.0"], "6 " + w.digests["1.1"], "2 " + w.digests["1.0"]}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// TestAnnotations writes a tag's annotations by each way that there is.
func TestAnnotations(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		method, path string
		want         any
	}{
		{"PUT", devTags + "/hello:dev", map[string]any{"by": "the object"}},
		{"POST", devTags, map[string]any{"by": "the tag"}},
	} {
		t.Run(test.method, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, imageapi.Options{})
			body := fmt.Sprintf(`{"metadata":{"name":"hello:dev","annotations":{"by":"the object"}},"tag":{"name":"dev",`+
				`"annotations":{"by":"the tag"},"from":{"kind":"DockerImage","name":"%s:1.0"}}}`, w.image)
			if status, answer := send(t, test.method, w.url+test.path, "application/json", body, ""); status != 201 {
				t.Fatalf("answered %d: %v", status, answer)
			}
			got := list(w.object("imagestreams", "hello"), "spec", "tags")[0]["annotations"]
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// TestIndex imports an index of arm64 and amd64 images in both modes, and sees what a node reports.
func TestIndex(t *testing.T) {
	t.Parallel()
	index := func(w *world) string {
		entry := func(version, architecture string) string {
			return strings.Replace(descriptor(w.digests[version]), "arm64", architecture, 1)
		}
		body := []byte(`{"schemaVersion":2,"mediaType":"` + ociIndex + `","manifests":[` + entry("1.0", "arm64") + `,` +
			entry("1.1", "amd64") + `]}`)
		put(w.t, w.registry.URL+"/v2/deepsky/hello/manifests/2.0", ociIndex, body)
		return digestOf(body)
	}
	for _, test := range []struct {
		mode     string
		wantHead func(w *world, index string) string
	}{
		{"Legacy", func(w *world, _ string) string { return w.digests["1.1"] }},
		{"PreserveOriginal", func(_ *world, index string) string { return index }},
	} {
		t.Run(test.mode, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, imageapi.Options{})
			digest := index(w)
			if _, err := w.Create("deployments", imageapi.Deployment("dev", "web", "hello:dev")); err != nil {
				t.Fatal(err)
			}
			w.write("2.0", `"insecure":true,"importMode":"`+test.mode+`"`)
			want := test.wantHead(w, digest)
			w.until("it is imported", func() bool { return w.head() == want })
			w.until("the template carries it", func() bool { return w.template("web") == w.image+"@"+want })
			w.until("the pod reports its platform's image", func() bool { return w.running()[w.digests["1.1"]+" ready"] == 1 })
		})
	}
}

// TestTLS reads the API over TLS with a certificate as the demo makes it.
func TestTLS(t *testing.T) {
	t.Parallel()
	made, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	served, err := made.TLS()
	if err != nil {
		t.Fatal(err)
	}
	cluster := imageapi.New(imageapi.Options{Users: []imageapi.User{{Token: "admin", Name: "admin", Rules: imageapi.Admin}}})
	server := httptest.NewUnstartedServer(cluster)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{served}}
	server.StartTLS()
	t.Cleanup(func() { cluster.Close(); server.Close() })
	namespaces := dynamicClient(t, server.URL, made.CertificatePEM)
	if _, err := namespaces.List(t.Context(), listAll); err != nil {
		t.Error(err)
	}
}

// plain takes a stored object to what a client would read.
func plain(t *testing.T, object map[string]any) map[string]any {
	return toAny(t, []any{object})[0].(map[string]any)
}
