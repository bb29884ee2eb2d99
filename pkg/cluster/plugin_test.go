package cluster_test

import (
	"context"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"dockline/pkg/cluster"
	"dockline/pkg/fault"
)

// withPlugin writes a kubeconfig for a server whose credential plugin is this shell script.
func withPlugin(t *testing.T, server *httptest.Server, script string) (kubeconfig string) {
	t.Helper()
	dir := t.TempDir()
	plugin, kubeconfig := filepath.Join(dir, "plugin"), filepath.Join(dir, "config")
	ca := base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}))
	text := fmt.Sprintf(`{"clusters":[{"name":"c","cluster":{"server":%q,"certificate-authority-data":%q}}],
		"users":[{"name":"u","user":{"exec":{"apiVersion":"client.authentication.k8s.io/v1","command":%q,"interactiveMode":"Never"}}}],
		"contexts":[{"name":"x","context":{"cluster":"c","user":"u"}}],"current-context":"x"}`, server.URL, ca, plugin)
	script = "#!/bin/sh\n" + script + `
echo '{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":{"token":"from-the-plugin"}}'
`
	if err := errors.Join(os.WriteFile(plugin, []byte(script), 0o700), os.WriteFile(kubeconfig, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	return kubeconfig
}

// TestATalkativePluginIsListenedTo has one whose lines are long, and which says more than a pipe holds.
func TestATalkativePluginIsListenedTo(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(status(404, "NotFound", "no"))
	t.Cleanup(server.Close)
	for _, row := range []struct {
		name   string
		script string
		hears  func(text string)
		last   string
	}{
		{"one long line", "printf 'renewing %1000000d\\n' 0 >&2; echo done >&2", nil, "done"},
		{"a long line without a blank", "head -c 1000000 /dev/zero | tr '\\0' x >&2; echo >&2", nil, "says: …"},
		{"many lines", "yes renewing | head -n 20000 >&2; echo done >&2", nil, "done"},
		{"a listener that crashes", "yes renewing | head -n 20000 >&2", func(string) { panic("boom") }, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			heard := make(chan struct{})
			c := connect(t, cluster.Config{Kubeconfig: withPlugin(t, server, row.script), Warn: func(text string) {
				if len(text) > 100<<10 {
					t.Errorf("a line of %d bytes is handed on", len(text))
				}
				if row.hears != nil {
					row.hears(text)
				}
				if strings.HasSuffix(text, row.last) {
					close(heard)
				}
			}})
			if _, err := c.Get(ctx, things, "dev", "x"); fault.KindOf(err) != fault.NotFound {
				t.Fatal(err)
			}
			if row.last == "" {
				return
			}
			select {
			case <-heard:
			case <-ctx.Done():
				t.Errorf("the end of what it says, %q, is not handed on", row.last)
			}
		})
	}
}

// TestAPluginThatHangsIsLeft has one that waits for what never comes; it says so first.
func TestAPluginThatHangsIsLeft(t *testing.T) {
	t.Parallel()
	server := httptest.NewTLSServer(status(404, "NotFound", "no"))
	t.Cleanup(server.Close)
	why := fault.New(fault.TimedOut, "TIMEOUT is over")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	c := connect(t, cluster.Config{
		Kubeconfig: withPlugin(t, server, "echo waiting >&2; "+hang(t)), Warn: func(string) { cancel(why) },
	})
	ended := make(chan error, 1)
	go func() {
		_, err := c.Get(ctx, things, "dev", "x")
		ended <- err
	}()
	select {
	case err := <-ended:
		if fault.KindOf(err) != fault.TimedOut {
			t.Errorf("%v (%s)", err, fault.KindOf(err))
		}
	case <-time.After(20 * time.Second):
		t.Error("the call is not left")
	}
}

// TestAPluginThatHangsIsNamed: without anybody who ends the wait, the calls' own limit does, and what is told is not that
// the API is slow.
func TestAPluginThatHangsIsNamed(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name, script string
		answer       http.HandlerFunc
		blamed       bool
	}{
		{"the plugin", hang(t), status(404, "NotFound", "no"), true},
		{"the API", "", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewTLSServer(row.answer)
			t.Cleanup(server.Close)
			patience := impatient
			patience.Silence = time.Second
			c, err := cluster.Connect(cluster.Config{Kubeconfig: withPlugin(t, server, row.script), Patience: patience})
			if err != nil {
				t.Fatal(err)
			}
			_, err = c.Get(t.Context(), things, "dev", "x")
			if fault.KindOf(err) != fault.Unavailable || fault.SideOf(err) != cluster.Side {
				t.Errorf("%v (%s, %s)", err, fault.KindOf(err), fault.SideOf(err))
			}
			if blamed := strings.Contains(err.Error(), `plugin" of the kubeconfig does not answer (waited 3 times)`); blamed != row.blamed {
				t.Errorf("the plugin is blamed: %t; %v", blamed, err)
			}
			if hinted := strings.Contains(fault.HintOf(err), "run the plugin by itself"); hinted != row.blamed {
				t.Errorf("the hint is %q", fault.HintOf(err))
			}
		})
	}
}

// hang is a line of a plugin's script that waits for the end of the test.
func hang(t *testing.T) string {
	t.Helper()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // the plugin goes on to its end
		if end, err := os.OpenFile(pipe, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil {
			_ = end.Close()
		}
	})
	return "read never <" + pipe
}
