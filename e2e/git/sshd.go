// Package git tests cloning with the programs that people have on both ends: OpenSSH's server, git's own http-backend, and
// commits and tags that git signed with gpg and ssh-keygen.
package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"dockline/e2e/debian"
)

// Need installs what the tests need.
func Need(ctx context.Context) error {
	return debian.Need(ctx, map[string]string{
		"git": "git", "git-lfs": "git-lfs", "gpg": "gpg", "gpg-agent": "gpg-agent", "gpgconf": "gpgconf",
		"ssh-keygen": "openssh-client", "ssh-keyscan": "openssh-client", "/usr/sbin/sshd": "openssh-server",
	})
}

// Server is a running OpenSSH server on loopback, which lets the owner of one key run any command as this user.
type Server struct {
	Address string // HOST:PORT

	command *exec.Cmd
	ended   chan struct{}
	log     *bytes.Buffer
}

// separation is where sshd keeps its unprivileged half (sshd(8)); Debian's service makes it when it starts.
const separation = "/run/sshd"

// StartSSH starts sshd with a new host key in dir, for the owner of an authorized key.
func StartSSH(ctx context.Context, dir string, authorized []byte) (*Server, error) {
	host := filepath.Join(dir, "host_key")
	if out, err := exec.CommandContext(ctx, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", host).CombinedOutput(); err != nil { //nolint:gosec // ours
		return nil, fmt.Errorf("making a host key: %w: %s", err, out)
	}
	keys := filepath.Join(dir, "authorized_keys")
	if err := os.WriteFile(keys, authorized, 0o600); err != nil {
		return nil, err
	}
	if os.Geteuid() == 0 {
		if err := os.MkdirAll(separation, 0o755); err != nil { //nolint:gosec // as Debian has it
			return nil, err
		}
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "sshd_config")
	if err := os.WriteFile(config, []byte(fmt.Sprintf(
		"ListenAddress 127.0.0.1\nPort %d\nHostKey %s\nAuthorizedKeysFile %s\nPidFile none\nUsePAM no\nStrictModes no\n"+
			"PermitRootLogin prohibit-password\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n", port, host, keys)), 0o600); err != nil {
		return nil, err
	}
	s := &Server{Address: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), ended: make(chan struct{}), log: &bytes.Buffer{}}
	s.command = exec.CommandContext(ctx, "/usr/sbin/sshd", "-D", "-e", "-f", config) //nolint:gosec // ours
	s.command.Stderr = s.log
	if err := s.command.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(s.ended)
		_ = s.command.Wait()
	}()
	for deadline := time.Now().Add(time.Minute); ; {
		connection, err := net.Dial("tcp", s.Address)
		if err == nil {
			return s, connection.Close()
		}
		select {
		case <-s.ended:
			return nil, fmt.Errorf("sshd has ended (%s): %s", s.command.ProcessState, s.log)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return nil, errors.Join(err, s.Stop())
		}
	}
}

// Stop ends the server, but not what it is doing.
func (s *Server) Stop() error {
	if err := s.command.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-s.ended
	return nil
}

// freePort is a port that was free a moment ago: sshd takes no listening socket but inetd's.
func freePort() (int, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer listener.Close()
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return 0, fmt.Errorf("unknown address %v", listener.Addr())
	}
	return address.Port, nil
}
