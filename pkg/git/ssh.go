package git

import (
	"fmt"
	"net"
	"os"
	"time"

	gitssh "github.com/go-git/go-git/v5/plumbing/transport/ssh"
	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"

	"dockline/pkg/fault"
)

// handshakeTimeout bounds the dialling of an ssh server.
const handshakeTimeout = 30 * time.Second

func init() {
	// A machine's ~/.ssh/config must not lead an address to another host than the one that was asked for.
	gitssh.DefaultSSHConfig = nil
}

// keyAuth is a private key that is used only with a host whose own key is known.
type keyAuth struct {
	user       string
	signer     ssh.Signer
	callback   ssh.HostKeyCallback
	algorithms []string
}

func sshAuth(home address, key, hosts []byte) (*keyAuth, error) {
	if len(key) == 0 {
		return nil, fault.New(fault.Configuration, "cloning %q by ssh: there is no private key", home.shown())
	}
	if len(hosts) == 0 {
		return nil, fault.New(fault.Configuration, "cloning %q by ssh: there are no known hosts to check its key", home.shown())
	}
	signer, err := ssh.ParsePrivateKey(key)
	if err != nil {
		return nil, fault.New(fault.Configuration, "reading the ssh key: %w", err)
	}
	known, err := parseKnownHosts(hosts)
	if err != nil {
		return nil, fault.New(fault.Configuration, "reading the known hosts: %w", err)
	}
	address := home.host
	if _, _, err := net.SplitHostPort(address); err != nil {
		address = net.JoinHostPort(address, defaultPorts["ssh"])
	}
	return &keyAuth{
		user: home.user, signer: signer,
		callback: known.HostKeyCallback(), algorithms: known.HostKeyAlgorithms(address),
	}, nil
}

// parseKnownHosts goes by a file, since the parser takes no bytes. Known hosts are no secret.
func parseKnownHosts(lines []byte) (*knownhosts.HostKeyDB, error) {
	file, err := os.CreateTemp("", "known_hosts")
	if err != nil {
		return nil, err
	}
	defer os.Remove(file.Name())
	if _, err := file.Write(lines); err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	return knownhosts.NewDB(file.Name())
}

// ClientConfig implements go-git's AuthMethod for ssh.
func (a *keyAuth) ClientConfig() (*ssh.ClientConfig, error) {
	return &ssh.ClientConfig{
		User: a.user, Auth: []ssh.AuthMethod{ssh.PublicKeys(a.signer)},
		HostKeyCallback: a.callback, HostKeyAlgorithms: a.algorithms, Timeout: handshakeTimeout,
	}, nil
}

// Name implements go-git's AuthMethod.
func (a *keyAuth) Name() string { return "ssh-key" }

// String implements go-git's AuthMethod; it shows nothing of the key.
func (a *keyAuth) String() string { return fmt.Sprintf("%s of %s", a.Name(), a.user) }
