package git_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"dockline/pkg/fault"
	"dockline/pkg/git"
)

func TestCloneBySSH(t *testing.T) {
	t.Parallel()
	h := newHistory(t)
	key, signer := newKey(t)
	otherKey, otherSigner := newKey(t)
	address, hostKey := startSSH(t, signer.PublicKey())
	known := []byte(knownhosts.Line([]string{address}, hostKey) + "\n")
	url := "ssh://git@" + address + h.path

	for _, test := range []struct {
		description string
		key, known  []byte
		kind        fault.Kind // 0 means that it succeeds
		text        string
	}{
		{"the right key and a known host", key, known, 0, ""},
		{"another key", otherKey, known, fault.Denied, "refuses the ssh key"},
		{"a host with another key than known", key, []byte(knownhosts.Line([]string{address}, otherSigner.PublicKey())), fault.Denied, "known hosts"},
		{"an unknown host", key, []byte(knownhosts.Line([]string{"elsewhere:22"}, hostKey)), fault.Denied, "known hosts"},
		{"no known hosts", key, nil, fault.Configuration, "no known hosts"},
		{"no key", nil, known, fault.Configuration, "no private key"},
		{"a key that is none", []byte("x"), known, fault.Configuration, "reading the ssh key"},
	} {
		t.Run(test.description, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			got, err := git.Clone(t.Context(), git.Options{
				URL: url, Dir: dir, SSHKey: test.key, KnownHosts: test.known, Pauses: []time.Duration{},
			})
			if test.kind == 0 {
				if err != nil || got.Hash != h.second || read(t, dir, "page") != "two" {
					t.Errorf("cloned %+v: %v", got, err)
				}
				return
			}
			if fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.text) {
				t.Errorf("error is %v (%s), want %q (%s)", err, fault.KindOf(err), test.text, test.kind)
			}
		})
	}
}

// startSSH runs an ssh server that knows one command, git-upload-pack, and one key.
func startSSH(t *testing.T, allowed ssh.PublicKey) (address string, hostKey ssh.PublicKey) {
	t.Helper()
	_, host := newKey(t)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
		if string(key.Marshal()) != string(allowed.Marshal()) {
			return nil, io.ErrNoProgress
		}
		return &ssh.Permissions{}, nil
	}}
	config.AddHostKey(host)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go serveSSH(connection, config)
		}
	}()
	return listener.Addr().String(), host.PublicKey()
}

func serveSSH(connection net.Conn, config *ssh.ServerConfig) {
	defer connection.Close()
	_, channels, requests, err := ssh.NewServerConn(connection, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for offered := range channels {
		channel, requests, err := offered.Accept()
		if err != nil {
			return
		}
		go func() {
			for request := range requests {
				if request.Type != "exec" {
					_ = request.Reply(true, nil)
					continue
				}
				var command struct{ Line string }
				_ = ssh.Unmarshal(request.Payload, &command)
				_ = request.Reply(true, nil)
				path, ok := strings.CutPrefix(command.Line, "git-upload-pack ")
				status := uint32(1)
				if ok {
					run := exec.Command("git", "upload-pack", strings.Trim(path, "'"))
					run.Stdin, run.Stdout = channel, channel
					if run.Run() == nil {
						status = 0
					}
				}
				_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
				_ = channel.Close()
			}
		}()
	}
}

func newKey(t *testing.T) ([]byte, ssh.Signer) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(block), signer
}
