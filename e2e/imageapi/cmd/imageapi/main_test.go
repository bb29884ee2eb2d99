package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"dockline/e2e/certificate"
)

// TestRun starts the program as the demo does, over TLS, and ends it as a signal would.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	users := filepath.Join(dir, "users.yaml")
	if err := os.WriteFile(users, []byte(`
- token: reader
  name: system:serviceaccount:dev:reader
  rules:
  - verbs: [list]
    resources: [imagestreams]
    namespaces: [dev]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	made, err := certificate.New()
	if err != nil {
		t.Fatal(err)
	}
	public, key, err := made.Write(dir)
	if err != nil {
		t.Fatal(err)
	}
	pods := filepath.Join(dir, "pods")
	if err := os.Mkdir(pods, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	read, write := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		ended <- run(ctx, []string{"-namespaces", "dev,prod", "-users", users, "-certificate", public, "-key", key, "-dir", pods}, write)
		write.Close()
	}()
	addresses := map[string]string{}
	lines := bufio.NewScanner(read)
	for len(addresses) < 2 && lines.Scan() {
		name, url, _ := strings.Cut(lines.Text(), " ")
		addresses[name] = url
	}
	if len(addresses) < 2 {
		t.Fatalf("the program printed %v and ended: %v", addresses, <-ended)
	}
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(made.CertificatePEM)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}, Timeout: 10 * time.Second}
	for _, test := range []struct {
		url  string
		want int
	}{
		{addresses["api"] + "/apis/image.openshift.io/v1/namespaces/dev/imagestreams", http.StatusOK},
		{addresses["api"] + "/apis/image.openshift.io/v1/namespaces/prod/imagestreams", http.StatusForbidden},
		{addresses["router"] + "/dev/web/", http.StatusServiceUnavailable},
	} {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, test.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer reader")
		response, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != test.want {
			t.Errorf("%s is answered %d, want %d", test.url, response.StatusCode, test.want)
		}
	}
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("the program ended in %v", err)
		}
	case <-time.After(5 * time.Second):
		t.Error("the program has not ended after 5 s")
	}
}

func TestRefused(t *testing.T) {
	for description, args := range map[string][]string{
		"nobody could come in":       {"-runner", "none"},
		"an address for everybody":   {"-listen", "0.0.0.0:0"},
		"a name instead":             {"-router", "localhost:0"},
		"no such runner":             {"-runner", "docker"},
		"a file that is not there":   {"-users", "nowhere.yaml"},
		"a flag that does not exist": {"-nothing"},
		"a certificate without key":  {"-runner", "none", "-certificate", "nowhere.pem"},
	} {
		t.Run(description, func(t *testing.T) {
			if description != "nobody could come in" {
				t.Setenv("ADMIN_TOKEN", "secret")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			if err := run(ctx, args, io.Discard); err == nil {
				t.Error("it started")
			}
		})
	}
}
