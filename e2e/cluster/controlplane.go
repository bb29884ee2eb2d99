package cluster

import (
	"context"
	"time"
)

const (
	// Addresses of Services are loopback's, so that a server can listen on one, and nothing has to forward.
	serviceAddresses = "127.96.0.0/16"
	// apiAddress is that of the Service kubernetes, by which pods find the API: the first of the range.
	apiAddress  = "127.96.0.1"
	etcdAddress = "127.0.0.1:23790"
)

func (c Cluster) startControlPlane(ctx context.Context) error {
	if err := c.part("etcd", "--data-dir="+c.in("etcd"), "--listen="+etcdAddress); err != nil {
		return err
	}
	if err := c.part("kube-apiserver",
		"--etcd-servers=http://"+etcdAddress,
		"--bind-address="+apiAddress, "--secure-port=443",
		"--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none", // it refuses a loopback address as endpoint
		"--service-cluster-ip-range="+serviceAddresses,
		"--tls-cert-file="+c.in("apiserver.crt"), "--tls-private-key-file="+c.in("apiserver.key"),
		"--client-ca-file="+c.in("ca.crt"),
		"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file="+c.in("service-accounts.key"),
		"--service-account-signing-key-file="+c.in("service-accounts.key"),
		"--kubelet-client-certificate="+c.in("apiserver-kubelet.crt"), "--kubelet-client-key="+c.in("apiserver-kubelet.key"),
		"--kubelet-certificate-authority="+c.in("ca.crt"), "--kubelet-preferred-address-types=Hostname",
		"--requestheader-client-ca-file="+c.in("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy",
		"--requestheader-extra-headers-prefix=X-Remote-Extra-", "--requestheader-group-headers=X-Remote-Group",
		"--requestheader-username-headers=X-Remote-User",
		"--proxy-client-cert-file="+c.in("front-proxy.crt"), "--proxy-client-key-file="+c.in("front-proxy.key"),
		"--profiling=false", "--shutdown-delay-duration=0s",
	); err != nil {
		return err
	}
	if err := until(ctx, 2*time.Minute, func(ctx context.Context) error {
		_, err := c.Kubectl(ctx, "get", "--raw", "/readyz")
		return err
	}); err != nil {
		return err
	}
	for _, part := range [][]string{
		{
			"kube-controller-manager", "--service-account-private-key-file=" + c.in("service-accounts.key"),
			"--root-ca-file=" + c.in("ca.crt"), "--use-service-account-credentials=true",
		},
		{"kube-scheduler"},
	} {
		kubeconfig := c.in(part[0] + ".kubeconfig")
		if err := c.part(part[0], append(part[1:], "--kubeconfig="+kubeconfig, "--authentication-kubeconfig="+kubeconfig,
			"--authorization-kubeconfig="+kubeconfig, "--bind-address=127.0.0.1", "--leader-elect=false")...); err != nil {
			return err
		}
	}
	// The policy must be in force before the first pod.
	return c.apply(ctx, `apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: host-network}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
  failurePolicy: Fail
  reinvocationPolicy: IfNeeded
  mutations:
    - patchType: JSONPatch
      jsonPatch:
        # The name is the one that Tekton's event listener asks for: there is no DNS.
        expression: >-
          [JSONPatch{op: "add", path: "/spec/hostNetwork", value: true},
          JSONPatch{op: "add", path: "/spec/hostAliases", value: []},
          JSONPatch{op: "add", path: "/spec/hostAliases/-", value: Object.spec.hostAliases{
          ip: "127.0.0.1", hostnames: ["tekton-triggers-core-interceptors.tekton-pipelines.svc"]}}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: host-network}
spec: {policyName: host-network}
`)
}
