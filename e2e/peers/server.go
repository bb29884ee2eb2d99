// Package peers runs the programs of others beside Dockline's: registries to copy between, and a tool that copies as
// promote does, for tests that both leave the same behind. Their versions are pinned in tools/peers.mod.
package peers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"dockline/e2e/debian"
)

// Compile compiles regctl, olareg and promote, static, into a folder.
func Compile(ctx context.Context, dir string) error {
	build := func(args ...string) error {
		command := exec.CommandContext(ctx, "go", append([]string{"build", "-trimpath", "-o", dir + string(filepath.Separator)}, args...)...)
		command.Dir = "../.." // of a test in this folder: where go.mod is
		command.Env = append(os.Environ(), "CGO_ENABLED=0")
		if text, err := command.CombinedOutput(); err != nil {
			return fmt.Errorf("compiling %v: %w: %s", args, err, text)
		}
		return nil
	}
	return errors.Join(build("-modfile=tools/peers.mod", "tool"), build("./cmd/promote"))
}

// Server is a running registry that lets everybody in, in plain http.
type Server struct {
	Host    string // "127.0.0.1:PORT"
	process *exec.Cmd
	ended   chan struct{}
	log     string
}

// Distribution starts Debian's docker-registry, which knows nothing of referrers, with its files in a folder.
func Distribution(ctx context.Context, dir string) (*Server, error) {
	if err := debian.Need(ctx, map[string]string{"docker-registry": "docker-registry"}); err != nil {
		return nil, err
	}
	return start(ctx, dir, func(host, _ string) ([]string, error) {
		file := filepath.Join(dir, "config.yml")
		config := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: %q}, delete: {enabled: true}}
http: {addr: %q, secret: test}
validation: {manifests: {urls: {allow: ["^https://layers[.]example/"]}}} # else it refuses images with foreign layers
`, filepath.Join(dir, "data"), host)
		return []string{"docker-registry", "serve", file}, os.WriteFile(file, []byte(config), 0o600)
	})
}

// Olareg starts olareg, compiled to this program, which keeps lists of referrers, with its files in a folder.
func Olareg(ctx context.Context, program, dir string) (*Server, error) {
	return start(ctx, dir, func(_, port string) ([]string, error) {
		// It would refuse an image whose foreign layers it does not have.
		return []string{
			program, "serve", "--addr", "127.0.0.1", "--port", port, "--dir", filepath.Join(dir, "data"),
			"--api-delete", "--api-sparse-image",
		}, os.MkdirAll(filepath.Join(dir, "data"), 0o700)
	})
}

func start(ctx context.Context, dir string, arguments func(host, port string) ([]string, error)) (*Server, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Server{Host: free.Addr().String(), log: filepath.Join(dir, "log")}
	_, port, err := net.SplitHostPort(s.Host)
	if err = errors.Join(err, free.Close()); err != nil {
		return nil, err
	}
	command, err := arguments(s.Host, port)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(s.log)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.process = exec.Command(command[0], command[1:]...) //nolint:gosec // fixed
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	s.ended = make(chan struct{})
	go func() {
		defer close(s.ended)
		_ = s.process.Wait()
	}()
	limit := time.After(startLimit)
	for {
		if connection, err := net.Dial("tcp", s.Host); err == nil {
			return s, connection.Close()
		}
		select {
		case <-time.After(10 * time.Millisecond):
			continue
		case <-s.ended:
		case <-limit:
		case <-ctx.Done():
		}
		s.Stop()
		return nil, fmt.Errorf("%s does not listen: %s", command[0], s.Log())
	}
}

// startLimit bounds how long a registry may take until it listens.
const startLimit = 30 * time.Second

// Log returns the end of what the registry said: distribution calls each 404 an error.
func (s *Server) Log() string {
	text, _ := os.ReadFile(s.log)
	return string(text[max(0, len(text)-2000):])
}

// Stop ends the registry.
func (s *Server) Stop() {
	_ = s.process.Process.Kill()
	<-s.ended
}
