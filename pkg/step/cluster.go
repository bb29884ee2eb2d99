package step

import (
	"errors"
	"net"
	"net/url"
	"strings"
)

// Cluster says how to reach the Kubernetes or OpenShift API. With none of it set, a pod's own ServiceAccount is used.
type Cluster struct {
	// Path of a kubeconfig file; its current context is used. Excludes KUBE_SERVER.
	Kubeconfig string `env:"KUBECONFIG"`
	// Address of the cluster's API, such as https://api.example.com:6443. Needs KUBE_TOKEN, which plain http would
	// show: it is refused but for this machine's own addresses.
	Server string `env:"KUBE_SERVER"`
	// Bearer token for KUBE_SERVER.
	Token Secret `env:"KUBE_TOKEN"`
	// File with the CA certificate (PEM) that signs KUBE_SERVER's certificate.
	CAFile string `env:"KUBE_CA_FILE"`
}

// Validate returns the conflicts between the variables, and an address that the token must not be sent to.
func (c Cluster) Validate() error {
	var conflict error
	switch {
	case c.Kubeconfig != "" && c.Server != "":
		conflict = Problem("KUBECONFIG and KUBE_SERVER are both set: set one of them")
	case c.Server != "" && c.Token == "":
		conflict = Problem("KUBE_TOKEN is missing: KUBE_SERVER is set")
	case c.Server == "" && c.Token != "":
		conflict = Problem("KUBE_SERVER is missing: KUBE_TOKEN is set")
	}
	return errors.Join(conflict, c.validateServer())
}

func (c Cluster) validateServer() error {
	if c.Server == "" {
		return nil
	}
	server, err := url.Parse(c.Server)
	switch {
	case strings.Contains(c.Server, "@"):
		return Problem("KUBE_SERVER is an address without an account: the account's token belongs into KUBE_TOKEN")
	case err != nil || server.Hostname() == "" || server.Scheme != "https" && server.Scheme != "http":
		return Problem("KUBE_SERVER is no address such as https://api.example.com:6443") // it may hold a password
	case server.Scheme == "http" && server.Hostname() != "localhost" && !net.ParseIP(server.Hostname()).IsLoopback():
		return Problem("KUBE_SERVER: plain http would show KUBE_TOKEN on its way to %q: use https", server.Host)
	}
	return nil
}
