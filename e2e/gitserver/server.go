// Package gitserver serves bare repositories over smart HTTP by Git's own git-http-backend, with a password and TLS
// where asked: the server that clones are tested against, and that the demo clones from.
package gitserver

import (
	"crypto/subtle"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
)

// Options says what is served, and to whom.
type Options struct {
	// Root is the directory that holds the bare repositories.
	Root string
	// Username and Password are asked for when Password is not empty.
	Username, Password string
}

// Handler serves the repositories below o.Root for reading, each at its path.
func Handler(o Options) (http.Handler, error) {
	git, err := exec.LookPath("git")
	if err != nil {
		return nil, fmt.Errorf("finding git: %w", err)
	}
	execPath, err := exec.Command(git, "--exec-path").Output()
	if err != nil {
		return nil, fmt.Errorf("asking git for its programs: %w", err)
	}
	root, err := filepath.Abs(o.Root)
	if err != nil {
		return nil, err
	}
	backend := &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env: []string{
			"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1",
			// Nothing of this machine's settings, and no complaint about a repository of another owner.
			"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + root,
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*",
		},
		Stderr: io.Discard,
	}
	return protect(o, backend), nil
}

// protect asks for the user name and the password.
func protect(o Options, next http.Handler) http.Handler {
	if o.Password == "" {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		if subtle.ConstantTimeCompare([]byte(user+"\x00"+password), []byte(o.Username+"\x00"+o.Password)) != 1 {
			w.Header().Set("WWW-Authenticate", `Basic realm="Git"`)
			http.Error(w, "<html><body>unauthorized</body></html>", http.StatusUnauthorized)
			return
		}
		// A CGI program gets the user's name, never the header.
		r.Header.Del("Authorization")
		next.ServeHTTP(w, r)
	})
}

// Server is a running server.
type Server struct {
	URL string // such as "https://127.0.0.1:12345"; a repository's URL is URL + "/" + its path
	CA  []byte // the certificate in PEM form, when it speaks TLS

	server *httptest.Server
}

// Start serves on a free port of the loopback interface, wrapped by the handlers in wrap, outermost last.
func Start(o Options, tls bool, wrap ...func(http.Handler) http.Handler) (*Server, error) {
	handler, err := Handler(o)
	if err != nil {
		return nil, err
	}
	for _, outer := range wrap {
		handler = outer(handler)
	}
	if !tls {
		server := httptest.NewServer(handler)
		return &Server{URL: server.URL, server: server}, nil
	}
	server := httptest.NewTLSServer(handler)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return &Server{URL: server.URL, CA: ca, server: server}, nil
}

// Close ends the server.
func (s *Server) Close() { s.server.Close() }
