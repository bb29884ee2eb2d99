package clonebuildpush

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/v1/remote"

	"dockline/e2e/baseimage"
	"dockline/e2e/certificate"
	"dockline/e2e/sandbox"
)

// TestSabotageChangesNothingForThePush has a RUN that rewrites what the push needs to find its registry and to know it,
// forges results, and leaves a daemon that does all of it again when nobody looks at the files any more: between the two
// stages of the build, while the second one's base image is on its way. The registry is reached by a name that /etc/hosts
// decides, and trusted by the system's CA certificates.
func TestSabotageChangesNothingForThePush(t *testing.T) {
	t.Parallel()
	s, hash := newRealStage(t, map[string]string{"Dockerfile": "ARG BASE\nARG LAST\nFROM $BASE AS sabotaged\nRUN [\"/bin/sabotage\"]\n" +
		"FROM $LAST\nCOPY --from=sabotaged /etc/hosts /srv/hosts\n"})
	last, err := baseimage.Pack(baseimage.File{Path: "/srv/last.txt", Mode: 0o644, Content: []byte("last\n")})
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(s.reference("last", "1"), last, account); err != nil {
		t.Fatal(err)
	}
	layers, err := last.Layers()
	if err != nil {
		t.Fatal(err)
	}
	layer, err := layers[0].Digest()
	if err != nil {
		t.Fatal(err)
	}
	results := t.TempDir()
	host, ca := s.tlsRegistry(func(r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/last/blobs/"+layer.String()) {
			sabotageNow(t, r, results)
		}
	})

	shell := append(append([]string{}, belowAShell...), "--", "/kaniko/bin/sabotage", "show")
	status, output := s.runInSandbox(shell, results, map[string]string{
		"CONTEXT_DIR": "", "REGISTRY": host, "REGISTRY_INSECURE": "",
		"BUILD_ARGS": "BASE=" + host + "/deepsky/web:1,LAST=" + host + "/deepsky/last:1",
	}, func(spec *sandbox.Spec) { spec.Files["/etc/ssl/certs/ca-certificates.crt"] = ca })
	if status != 0 || !strings.Contains(output, "LEFT 0\n") || s.digest("1.0") == "" {
		t.Fatalf("exit status %d of the shell; want an image, and no daemon left:\n%s", status, output)
	}
	// What the push met, its end showed still.
	if !strings.HasSuffix(output, "\nFORGED /etc/hosts\nFORGED /etc/nsswitch.conf\nFORGED /etc/resolv.conf\n"+
		"FORGED /etc/ssl/cert.pem\nFORGED /etc/ssl/certs/ca-certificates.crt\n") {
		t.Errorf("the daemon's sabotage did not take place:\n%s", output)
	}
	_, content := s.pushed("commit-" + hash)
	if content["srv/hosts"] != "127.0.0.66 localhost\n" || readResult(results, "heartbeat") != "alive" {
		t.Errorf("the RUN's sabotage did not take place: /etc/hosts was %q", content["srv/hosts"])
	}
	if content["etc/passwd"] != "root:x:0:0:root:/root:/bin/sh\n" || content["srv/last.txt"] != "last\n" {
		t.Errorf("/etc/passwd is %q, and the base image's file %q", content["etc/passwd"], content["srv/last.txt"])
	}
	if got := readResult(results, "IMAGE_DIGEST"); got != s.digest("1.0") || got == "" {
		t.Errorf("result is %q, want %q", got, s.digest("1.0"))
	}
	if info, err := os.Lstat(filepath.Join(results, "IMAGE_URL")); err != nil || !info.Mode().IsRegular() {
		t.Errorf("IMAGE_URL was written through a link: %v, %v", info, err)
	}
	if got, want := readResult(results, "IMAGE_URL"), host+"/deepsky/hello:1.0"; got != want {
		t.Errorf("IMAGE_URL is %q, want %q", got, want)
	}
}

// hostsAreKnown is a little more than the 5 s for which Go's resolver takes /etc/hosts to be as it was (cacheMaxAge in
// net/hosts.go): a step that looked names up again would be deceived only then.
const hostsAreKnown = 5200 * time.Millisecond

// sabotageNow has the daemon do its worst, and returns when it has, and when the step would notice.
func sabotageNow(t *testing.T, r *http.Request, results string) {
	known := time.After(hostsAreKnown)
	if err := os.WriteFile(filepath.Join(results, "now"), nil, 0o600); err != nil {
		t.Error(err)
	}
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for readResult(results, "rewritten") == "" {
		select {
		case <-r.Context().Done():
			t.Error("nobody waits for the base image any more, and the daemon has done nothing")
			return
		case <-again.C:
		}
	}
	<-known
}

// tlsRegistry is the stage's registry at a name, over TLS. It returns the host, and its CA's certificate. Each request is
// shown before it is answered.
func (s *stage) tlsRegistry(show func(*http.Request)) (host, ca string) {
	s.t.Helper()
	made, err := certificate.New()
	if err != nil {
		s.t.Fatal(err)
	}
	pair, err := made.TLS()
	if err != nil {
		s.t.Fatal(err)
	}
	behind := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: s.registry})
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		show(r)
		behind.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.Config.SetKeepAlivesEnabled(false) // or a connection from before the sabotage would do for all
	server.StartTLS()
	s.t.Cleanup(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	return "localhost:" + port, string(made.CertificatePEM)
}
