package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// server is a running docker-registry (distribution) of Debian's.
type server struct {
	address string
	process *exec.Cmd
}

// access is how a registry lets in: nil is everybody, in plain http.
type access struct {
	certificateFile, keyFile string
	realm                    string // of the token service
}

// serve starts a registry on the files in root, at an address that is free. They stay when it is stopped.
func serve(ctx context.Context, root string, guarded *access) (*server, error) {
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	return serveAt(ctx, address, root, guarded)
}

func freeAddress() (string, error) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return free.Addr().String(), free.Close()
}

func serveAt(ctx context.Context, address, root string, guarded *access) (*server, error) {
	if err := os.MkdirAll(root, 0o755); err != nil { //nolint:gosec // images for a bench
		return nil, err
	}
	s := &server{address: address}
	// Debian's own configuration, but for the address, the log and the health check.
	config := fmt.Sprintf(`version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  cache: {blobdescriptor: inmemory}
  filesystem: {rootdirectory: %q}
  delete: {enabled: true}
http:
  addr: %q
  secret: bench
`, root, s.address)
	if guarded != nil {
		config += fmt.Sprintf("  tls: {certificate: %q, key: %q}\n", guarded.certificateFile, guarded.keyFile)
		config += fmt.Sprintf("auth:\n  token: {realm: %q, service: bench, issuer: bench, rootcertbundle: %q}\n",
			guarded.realm, guarded.certificateFile)
	}
	file := filepath.Join(filepath.Dir(root), filepath.Base(root)+".yml")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil { //nolint:gosec // no secret in it
		return nil, err
	}
	log, err := os.Create(filepath.Join(filepath.Dir(root), filepath.Base(root)+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	s.process = exec.Command("docker-registry", "serve", file) //nolint:gosec // our own file
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return nil, err
	}
	for range 500 {
		connection, err := net.Dial("tcp", s.address)
		if err == nil {
			return s, connection.Close()
		}
		if ctx.Err() != nil {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	s.stop()
	said, _ := os.ReadFile(log.Name())
	return nil, fmt.Errorf("docker-registry does not listen: %s", said)
}

func (s *server) stop() {
	_ = s.process.Process.Kill()
	_ = s.process.Wait()
}
