package cluster

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/clientcmd"

	"dockline/e2e/certificate"
	"dockline/e2e/imageapi"
)

// imageService is the Service, NAME.NAMESPACE, by which the API server finds the image API.
const imageService = "image-api.openshift-image-api"

// ServeImageAPI serves image.openshift.io in this process as an aggregated API of the cluster, with the rights of its
// administrator, until stop is called. It returns when kubectl has it.
func (c Cluster) ServeImageAPI(ctx context.Context, options imageapi.Options) (stop func() error, err error) {
	var started []func() error
	stop = func() (err error) {
		for i := len(started) - 1; i >= 0; i-- {
			err = errors.Join(err, started[i]())
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, stop())
		}
	}()
	config, err := clientcmd.BuildConfigFromFlags("", c.Kubeconfig())
	if err != nil {
		return stop, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return stop, err
	}
	proxyCA, err := os.ReadFile(c.in("front-proxy-ca.crt"))
	if err != nil {
		return stop, err
	}
	api, err := imageapi.Behind(imageapi.Kubernetes{
		Client: client, FrontProxyCA: proxyCA, FrontProxyNames: []string{"front-proxy"},
	}, options)
	if err != nil {
		return stop, err
	}
	started = append(started, func() error { api.Close(); return nil })

	made, err := certificate.New(imageService + ".svc")
	if err != nil {
		return stop, err
	}
	shown, err := made.TLS()
	if err != nil {
		return stop, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return stop, err
	}
	server := &http.Server{Handler: api, ReadHeaderTimeout: time.Minute, TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{shown}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert,
	}}
	go func() { _ = server.ServeTLS(listener, "", "") }()
	started = append(started, server.Close)

	started = append(started, func() error { return c.forgetImageAPI(context.WithoutCancel(ctx)) })
	return stop, c.registerImageAPI(ctx, listener.Addr().(*net.TCPAddr).Port, made.CertificatePEM) //nolint:errcheck,forcetypeassert // tcp
}

// registerImageAPI has the API server ask a port of localhost, and waits until it does.
func (c Cluster) registerImageAPI(ctx context.Context, port int, ca []byte) error {
	if err := c.apply(ctx, fmt.Sprintf(`apiVersion: v1
kind: Namespace
metadata: {name: openshift-image-api}
---
apiVersion: v1
kind: Service
metadata: {name: image-api, namespace: openshift-image-api}
spec: {type: ExternalName, externalName: localhost, ports: [{port: %[1]d}]}
---
apiVersion: apiregistration.k8s.io/v1
kind: APIService
metadata: {name: v1.image.openshift.io}
spec:
  group: image.openshift.io
  version: v1
  groupPriorityMinimum: 1000
  versionPriority: 15
  caBundle: %[2]s
  service: {name: image-api, namespace: openshift-image-api, port: %[1]d}
`, port, base64.StdEncoding.EncodeToString(ca))); err != nil {
		return err
	}
	_, err := c.Kubectl(ctx, "wait", "--for=condition=Available", "apiservice/v1.image.openshift.io", "--timeout=30s")
	return err
}

// forgetImageAPI removes what registerImageAPI has made. A namespace cannot go while an API does not answer.
func (c Cluster) forgetImageAPI(ctx context.Context) error {
	_, err := c.Kubectl(ctx, "delete", "apiservice", "v1.image.openshift.io", "--ignore-not-found", "--timeout=30s")
	_, gone := c.Kubectl(ctx, "delete", "namespace", "openshift-image-api", "--ignore-not-found", "--wait=false")
	return errors.Join(err, gone)
}
