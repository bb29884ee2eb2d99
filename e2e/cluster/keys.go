package cluster

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"
)

// signer is a CA.
type signer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// writeKeys makes the cluster's two CAs, the certificates of its parts, and a kubeconfig for each that is a client.
func (c Cluster) writeKeys(context.Context) error {
	ca, err := c.newSigner("ca")
	if err != nil {
		return err
	}
	front, err := c.newSigner("front-proxy-ca")
	if err != nil {
		return err
	}
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.ParseIP(apiAddress)}
	apiNames := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	for _, leaf := range []struct {
		name, user, group string
		by                signer
		names             []string
	}{
		{"apiserver", "kube-apiserver", "", ca, apiNames},
		{"kubelet-server", "system:node:localhost", "system:nodes", ca, []string{"localhost"}},
		{"apiserver-kubelet", "kube-apiserver-kubelet", "system:masters", ca, nil},
		{"front-proxy", "front-proxy", "", front, nil},
		{"service-accounts", "service-accounts", "", ca, nil},
	} {
		if err := c.issue(leaf.name, leaf.user, leaf.group, leaf.by, leaf.names, loopback); err != nil {
			return err
		}
	}
	for _, client := range [][3]string{
		{"admin", "admin", "system:masters"},
		{"kube-controller-manager", "system:kube-controller-manager", ""},
		{"kube-scheduler", "system:kube-scheduler", ""},
		{"kubelet", "system:node:localhost", "system:nodes"},
	} {
		if err := c.issue(client[0], client[1], client[2], ca, nil, nil); err != nil {
			return err
		}
		if err := c.writeKubeconfig(client[0]); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) newSigner(name string) (signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return signer{}, err
	}
	template := template(name)
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	s := signer{template, key}
	made, err := c.write(name, template, s, key)
	if err != nil {
		return signer{}, err
	}
	s.certificate, err = x509.ParseCertificate(made)
	return s, err
}

// issue writes NAME.crt and NAME.key.
func (c Cluster) issue(name, user, group string, by signer, names []string, addresses []net.IP) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := template(user)
	if group != "" {
		template.Subject.Organization = []string{group}
	}
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth}
	template.DNSNames, template.IPAddresses = names, addresses
	_, err = c.write(name, template, by, key)
	return err
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // it never fails
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(7 * 24 * time.Hour),
	}
}

func (c Cluster) write(name string, template *x509.Certificate, by signer, key *ecdsa.PrivateKey) ([]byte, error) {
	made, err := x509.CreateCertificate(rand.Reader, template, by.certificate, key.Public(), by.key)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: made})
	private := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: secret})
	return made, errors.Join(os.WriteFile(c.in(name+".crt"), public, 0o644), //nolint:gosec // public
		os.WriteFile(c.in(name+".key"), private, 0o600))
}

func (c Cluster) writeKubeconfig(name string) error {
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: local, cluster: {server: "https://%s", certificate-authority: %q}}]
users: [{name: %[3]q, user: {client-certificate: %q, client-key: %q}}]
contexts: [{name: local, context: {cluster: local, user: %[3]q}}]
current-context: local
`, apiAddress, c.in("ca.crt"), name, c.in(name+".crt"), c.in(name+".key"))
	return os.WriteFile(c.in(name+".kubeconfig"), []byte(text), 0o600)
}
