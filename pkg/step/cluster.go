package step

import "strings"

// Cluster says how to reach the Kubernetes or OpenShift API. With none of it set, a pod's own ServiceAccount is used.
type Cluster struct {
	// Path of a kubeconfig file; its current context is used. Excludes KUBE_SERVER.
	Kubeconfig string `env:"KUBECONFIG"`
	// Address of the cluster's API, such as https://api.example.com:6443. Needs KUBE_TOKEN.
	Server string `env:"KUBE_SERVER"`
	// Bearer token for KUBE_SERVER.
	Token Secret `env:"KUBE_TOKEN"`
	// File with the CA certificate (PEM) that signs KUBE_SERVER's certificate.
	CAFile string `env:"KUBE_CA_FILE"`
}

// Validate returns the conflicts between the variables.
func (c Cluster) Validate() error {
	switch {
	case strings.Contains(c.Server, "@"):
		return Problem("KUBE_SERVER is an address without an account: the account's token belongs into KUBE_TOKEN")
	case c.Kubeconfig != "" && c.Server != "":
		return Problem("KUBECONFIG and KUBE_SERVER are both set: set one of them")
	case c.Server != "" && c.Token == "":
		return Problem("KUBE_TOKEN is missing: KUBE_SERVER is set")
	case c.Server == "" && c.Token != "":
		return Problem("KUBE_SERVER is missing: KUBE_TOKEN is set")
	}
	return nil
}
