package step

import (
	"strings"
	"testing"
)

func TestClusterValidate(t *testing.T) {
	t.Parallel()
	const noAddress = "KUBE_SERVER is no address such as https://api.example.com:6443"
	for name, row := range map[string]struct {
		cluster Cluster
		problem string // "" for none
	}{
		"nothing, as in a pod":              {Cluster{}, ""},
		"a kubeconfig":                      {Cluster{Kubeconfig: "/k"}, ""},
		"https":                             {Cluster{Server: "https://api.example.com:6443", Token: "t"}, ""},
		"plain http on loopback":            {Cluster{Server: "http://127.0.0.1:8080", Token: "t"}, ""},
		"plain http on loopback, by IPv6":   {Cluster{Server: "http://[::1]:8080", Token: "t"}, ""},
		"plain http on loopback, by name":   {Cluster{Server: "http://localhost:8080", Token: "t"}, ""},
		"plain http elsewhere":              {Cluster{Server: "http://api.example.com", Token: "t"}, "KUBE_SERVER: plain http would show KUBE_TOKEN"},
		"plain http elsewhere, by capitals": {Cluster{Server: "HTTP://api.example.com", Token: "t"}, "KUBE_SERVER: plain http would show KUBE_TOKEN"},
		"plain http at a look-alike":        {Cluster{Server: "http://localhost.example.com", Token: "t"}, "KUBE_SERVER: plain http would show KUBE_TOKEN"},
		"loopback as an account":            {Cluster{Server: "http://127.0.0.1:x@api.example.com", Token: "t"}, "KUBE_SERVER is an address without an account"},
		"a host alone":                      {Cluster{Server: "api.example.com:6443", Token: "t"}, noAddress},
		"another scheme":                    {Cluster{Server: "ftp://api.example.com", Token: "t"}, noAddress},
		"both":                              {Cluster{Kubeconfig: "/k", Server: "https://x", Token: "t"}, "are both set"},
		"no token":                          {Cluster{Server: "https://x"}, "KUBE_TOKEN is missing"},
		"no server":                         {Cluster{Token: "t"}, "KUBE_SERVER is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := row.cluster.Validate()
			if row.problem == "" && err != nil || row.problem != "" && (err == nil || !strings.Contains(err.Error(), row.problem)) {
				t.Errorf("got %v, want %q", err, row.problem)
			}
		})
	}
}
