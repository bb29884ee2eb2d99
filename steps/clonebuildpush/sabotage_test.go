package clonebuildpush

import (
	"crypto/tls"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"dockline/e2e/certificate"
	"dockline/e2e/sandbox"
)

// TestSabotageChangesNothingForThePush has a RUN that rewrites what the push needs to find its registry and to know it,
// and forges results, so that all of it is there still when the image is pushed. The registry is reached by a name that
// /etc/hosts decides, and trusted by the system's CA certificates. The daemon that the RUN leaves ends with it.
func TestSabotageChangesNothingForThePush(t *testing.T) {
	t.Parallel()
	s, hash := newRealStage(t, map[string]string{
		"Dockerfile": "ARG BASE\nFROM $BASE\nRUN [\"/bin/sabotage\"]\nRUN [\"/bin/sabotage\", \"left\"]\nRUN [\"/bin/sabotage\", \"wait\"]\n",
	})
	results := t.TempDir()
	host, ca := s.tlsRegistry()

	shell := append(append([]string{}, belowAShell...), "--", "/kaniko/bin/sabotage", "show")
	status, output := s.runInSandbox(shell, results, map[string]string{
		"CONTEXT_DIR": "", "REGISTRY": host, "REGISTRY_INSECURE": "",
		"BUILD_ARGS": "BASE=" + host + "/deepsky/web:1",
	}, func(spec *sandbox.Spec) { spec.Files["/etc/ssl/certs/ca-certificates.crt"] = ca })
	if status != 0 || strings.Count(output, "LEFT 0") < 2 || s.digest("1.0") == "" {
		t.Fatalf("exit status %d of the shell; want an image, and no daemon left:\n%s", status, output)
	}
	// What the push met, its end showed still.
	if !strings.HasSuffix(output, "\nFORGED /etc/hosts\nFORGED /etc/nsswitch.conf\nFORGED /etc/resolv.conf\n"+
		"FORGED /etc/ssl/cert.pem\nFORGED /etc/ssl/certs/ca-certificates.crt\n") {
		t.Errorf("the sabotage was not there when it was pushed:\n%s", output)
	}
	_, content := s.pushed("commit-" + hash)
	if content["etc/hosts"] != "127.0.0.66 localhost\n" || readResult(results, "heartbeat") != "alive" {
		t.Errorf("the RUN's sabotage did not take place: /etc/hosts was %q", content["etc/hosts"])
	}
	if content["etc/passwd"] != "root:x:0:0:root:/root:/bin/sh\n" {
		t.Errorf("/etc/passwd is %q", content["etc/passwd"])
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

// tlsRegistry is the stage's registry at a name, over TLS. It returns the host, and its CA's certificate.
func (s *stage) tlsRegistry() (host, ca string) {
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
	server := httptest.NewUnstartedServer(behind)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	server.Config.SetKeepAlivesEnabled(false) // or a connection from before the sabotage would do for all
	server.StartTLS()
	s.t.Cleanup(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	return "localhost:" + port, string(made.CertificatePEM)
}
