package clonebuildpush

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	ggcr "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/pkg/fault"
	"dockline/pkg/registry"
)

func TestParseMirrors(t *testing.T) {
	t.Parallel()
	got, err := parseMirrors(" docker.io=Mirror.example.com:443/hub,quay.io:443=m.example.com:5000/a/b\n index.docker.io=second.example.com ")
	want := map[string][]string{
		"index.docker.io": {"mirror.example.com/hub", "second.example.com"}, "quay.io": {"m.example.com:5000/a/b"},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("%v (-want +got)\n%s", err, diff)
	}
}

// served is a registry over TLS, which notes what it is asked for, and by whom.
type served struct {
	*httptest.Server
	host string

	mu       sync.Mutex
	asked    []string // "GET /v2/…"
	accounts []string
	answer   func(w http.ResponseWriter, r *http.Request) bool // in the registry's place; true when it has
}

func serve(t *testing.T) *served {
	t.Helper()
	s := &served{}
	open := ggcr.New(ggcr.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		if r.URL.Path != "/v2/" {
			s.asked = append(s.asked, r.Method+" "+r.URL.Path)
		}
		if user, _, ok := r.BasicAuth(); ok && !slices.Contains(s.accounts, user) {
			s.accounts = append(s.accounts, user)
		}
		answer := s.answer
		s.mu.Unlock()
		if answer == nil || !answer(w, r) {
			open.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	s.host = strings.TrimPrefix(s.URL, "https://")
	return s
}

// push puts an image there before anybody is asked.
func (s *served) push(t *testing.T, path string, image v1.Image) {
	t.Helper()
	reference, err := name.ParseReference(s.host + path)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(reference, image, remote.WithTransport(s.Client().Transport)); err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = nil
}

func status(code int) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(code)
		return true
	}
}

// needsAccount lets in whoever has the mirror's own account.
func needsAccount(w http.ResponseWriter, r *http.Request) bool {
	if user, password, _ := r.BasicAuth(); user == "reader" && password == "s3cr3t-of-the-mirror" {
		return false
	}
	w.Header().Set("WWW-Authenticate", `Basic realm="mirror"`)
	w.WriteHeader(http.StatusUnauthorized)
	return true
}

// TestMirrors has one image at a registry and another one of the same name at its mirror.
func TestMirrors(t *testing.T) {
	t.Parallel()
	const auth = `{"auths":{"%":{"username":"reader","password":"s3cr3t-of-the-mirror"}}}`
	for _, row := range []struct {
		description string
		path        string // of what the mirror holds; "" for nothing
		answer      func(http.ResponseWriter, *http.Request) bool
		closed      bool
		byDigest    bool // the image is named by the digest of that at the registry
		auth        string
		mirrored    bool // the mirror's is taken
		away        int  // how often it is told that the mirror is away
		kind        fault.Kind
		says        string
	}{
		{description: "has it", path: "/hub/base/go:1", mirrored: true},
		{description: "has it, for its own account", path: "/hub/base/go:1", answer: needsAccount, auth: auth, mirrored: true},
		{description: "has another", path: "/hub/base/other:1"},
		{description: "has it elsewhere", path: "/base/go:1"},
		{description: "has nothing"},
		{description: "has not got that digest", path: "/hub/base/go:1", byDigest: true},
		{description: "does not answer", closed: true, away: 1},
		{description: "is overloaded", answer: status(http.StatusServiceUnavailable), away: 1},
		{description: "has too much to do for us", answer: status(http.StatusTooManyRequests), away: 1},
		{description: "has the manifest alone", path: "/hub/base/go:1", mirrored: true, kind: fault.NotFound, answer: func(w http.ResponseWriter, r *http.Request) bool {
			return strings.Contains(r.URL.Path, "/blobs/") && r.Method == http.MethodGet && missing(w, "BLOB_UNKNOWN")
		}},
		{description: "lets nobody in", answer: needsAccount, kind: fault.Denied, says: "asking a mirror of"},
		{
			description: "answers for a digest with something else", byDigest: true, kind: fault.Wrong, says: "asking a mirror of",
			answer: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.Contains(r.URL.Path, "/manifests/") {
					return false
				}
				w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
				_, _ = io.WriteString(w, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`)
				return true
			},
		},
	} {
		t.Run(row.description, func(t *testing.T) {
			t.Parallel()
			origin, mirror := serve(t), serve(t)
			ours, theirs := randomImage(t), randomImage(t)
			origin.push(t, "/base/go:1", ours)
			if row.path != "" {
				mirror.push(t, row.path, theirs)
			}
			mirror.answer = row.answer
			if row.closed {
				mirror.Close()
			}
			away := 0
			config := registry.Config{
				Address: "registry.example.com", Username: "pusher", Password: registryPassword,
				CA: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: origin.Certificate().Raw}),
			}
			if row.auth != "" {
				config.Auth = []registry.AuthFile{{Origin: "test", JSON: []byte(strings.ReplaceAll(row.auth, "%", mirror.host))}}
			}
			image, want := origin.host+"/base/go:1", ours
			if row.byDigest {
				image = origin.host + "/base/go@" + digestOf(t, ours)
			}
			if row.mirrored {
				want = theirs
			}
			pull, err := newPuller(t.Context(), config, mirrors{
				of: map[string][]string{origin.host: {mirror.host + "/hub"}}, onAway: func(string, error) { away++ },
			}, []string{image}, nil)
			if row.says != "" {
				if fault.KindOf(err) != row.kind || !strings.Contains(err.Error(), row.says) || len(origin.asked) > 0 {
					t.Errorf("error %v, and the registry is asked for %q", err, origin.asked)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got, err := pull.digest(image); err != nil || got != digestOf(t, want) {
				t.Errorf("%q is %s (%v), want %s", image, got, err, digestOf(t, want))
			}
			layers, err := want.Layers()
			if err != nil {
				t.Fatal(err)
			}
			layer, err := layers[0].Digest()
			if err != nil {
				t.Fatal(err)
			}
			reference, err := name.ParseReference(image)
			if err != nil {
				t.Fatal(err)
			}
			content, size, err := pull.Blob(t.Context(), reference.Context(), layer)
			if row.kind != 0 {
				if fault.KindOf(err) != row.kind || !slices.Contains(origin.asked, "GET /v2/base/go/blobs/"+layer.String()) {
					t.Errorf("error %v, and the registry is asked for %q", err, origin.asked)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer content.Close()
			if text, err := io.ReadAll(content); err != nil || int64(len(text)) != size {
				t.Errorf("%d bytes of %d (%v)", len(text), size, err)
			}
			if row.mirrored != (len(origin.asked) == 0) || away != row.away {
				t.Errorf("the registry is asked for %q; away %d times", origin.asked, away)
			}
			for _, account := range append(slices.Clone(origin.accounts), mirror.accounts...) {
				if account != "reader" || row.auth == "" || slices.Contains(origin.accounts, "reader") {
					t.Errorf("accounts %q at the registry, %q at the mirror", origin.accounts, mirror.accounts)
				}
			}
		})
	}
}

func missing(w http.ResponseWriter, code string) bool {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusNotFound)
	_, _ = io.WriteString(w, `{"errors":[{"code":"`+code+`","message":"not here"}]}`)
	return true
}

func randomImage(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(64, 1)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func digestOf(t *testing.T, image v1.Image) string {
	t.Helper()
	digest, err := image.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

// TestMirrorsOfARealBuild has a base image whose registry is away. Key and provenance name that registry, and nothing is
// pushed to the mirror.
func TestMirrorsOfARealBuild(t *testing.T) {
	t.Parallel()
	s, _ := newRealStage(t, map[string]string{
		"Dockerfile": "FROM 127.0.0.1:1/web:1\nRUN [\"/bin/stamp\", \"/srv/made\", \"yes\"]\nCOPY --from=127.0.0.1:1/web:1 /bin/probe /srv/\n",
	})
	changes := map[string]string{
		"CONTEXT_DIR": "", "REGISTRY_MIRRORS": "127.0.0.1:1=" + s.registry + "/deepsky", "PROVENANCE": "true", "REUSE": reuseUnchanged,
	}
	for _, built := range []bool{true, false} {
		status, output := s.runInSandbox(nil, t.TempDir(), changes)
		if status != 0 || strings.Contains(output, "wrote the image by its digest") != built {
			t.Fatalf("exit status %d:\n%s", status, output)
		}
	}
	if _, content := s.pushed("1.0"); content["srv/made"] != "yes\n" || content["srv/probe"] == "" {
		t.Errorf("built %q", content["srv/made"])
	}
	base, err := remote.Get(s.reference("web", "1"), account)
	if err != nil {
		t.Fatal(err)
	}
	resolved := s.provenance().BuildDefinition.ResolvedDependencies
	if got := resolved[len(resolved)-1]; got.URI != "pkg:docker/web@1?repository_url=127.0.0.1%3A1" || got.Digest["sha256"] != base.Digest.Hex {
		t.Errorf("provenance names %+v", got)
	}
	// Without its mirror it is not to be had.
	changes["REGISTRY_MIRRORS"] = ""
	if status, output := s.runInSandbox(nil, t.TempDir(), changes); status != 6 {
		t.Errorf("exit status %d:\n%s", status, output)
	}
}
