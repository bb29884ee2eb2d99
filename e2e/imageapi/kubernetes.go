package imageapi

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/cache"
)

// Kubernetes is a real one that the server stands behind, as an aggregated API: the server then has image.openshift.io
// alone, and everything else is the cluster's. Namespaces, pull secrets and rights are looked up there, and images are
// written into the pod templates of its workloads.
type Kubernetes struct {
	// Client may get namespaces, list secrets, create subjectaccessreviews, and list, watch and update the workloads that
	// follow image stream tags, in all namespaces.
	Client dynamic.Interface

	// FrontProxyCA (PEM) signs the certificate by which kube-apiserver shows that it is the one that asks, and
	// FrontProxyNames are the certificate's names: those of --requestheader-client-ca-file and
	// --requestheader-allowed-names. Who shows another certificate, or none, is answered 401. The server's TLS must ask
	// for one (tls.RequestClientCert).
	FrontProxyCA    []byte
	FrontProxyNames []string
}

// realCluster is a Kubernetes as the server sees it.
type realCluster struct {
	Kubernetes
	frontProxies *x509.CertPool
	informers    map[resource]cache.SharedInformer
}

// followed are the resources of a Kubernetes whose pod templates can follow a tag.
var followed = []resource{deployments, statefulSets, daemonSets, cronJobs}

// newRealCluster begins to watch the workloads of a Kubernetes, until ctx ends, and waits until it knows them.
// Changed is called after each change.
func newRealCluster(ctx context.Context, of Kubernetes, workers interface{ Go(func()) }, changed func()) (*realCluster, error) {
	c := &realCluster{of, x509.NewCertPool(), map[resource]cache.SharedInformer{}}
	if !c.frontProxies.AppendCertsFromPEM(of.FrontProxyCA) {
		return nil, errors.New("the front proxy's CA holds no certificate")
	}
	for _, r := range followed {
		client := of.Client.Resource(r.in())
		informer := cache.NewSharedInformer(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
				return client.List(ctx, options)
			},
			WatchFuncWithContext: func(ctx context.Context, options metav1.ListOptions) (watch.Interface, error) {
				return client.Watch(ctx, options)
			},
		}, &unstructured.Unstructured{}, 0)
		if _, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { changed() },
			UpdateFunc: func(any, any) { changed() },
		}); err != nil {
			return nil, err
		}
		c.informers[r] = informer
		workers.Go(func() { informer.RunWithContext(ctx) })
	}
	ready, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, informer := range c.informers {
		if !cache.WaitForCacheSync(ready.Done(), informer.HasSynced) {
			return nil, errors.New("the workloads of the cluster cannot be listed")
		}
	}
	return c, nil
}

// authenticate believes kube-apiserver, by its certificate, and nobody else.
func (c *realCluster) authenticate(r *http.Request) (User, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return User{}, unauthorized()
	}
	shown, rest := r.TLS.PeerCertificates[0], x509.NewCertPool()
	for _, certificate := range r.TLS.PeerCertificates[1:] {
		rest.AddCert(certificate)
	}
	_, err := shown.Verify(x509.VerifyOptions{
		Roots: c.frontProxies, Intermediates: rest, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	user := User{Name: r.Header.Get("X-Remote-User"), groups: r.Header.Values("X-Remote-Group")}
	if err != nil || !slices.Contains(c.FrontProxyNames, shown.Subject.CommonName) || user.Name == "" {
		return User{}, unauthorized()
	}
	return user, nil
}

// authorize asks the cluster. It has been asked before the request came here, but a request can take more than one right.
func (c *realCluster) authorize(ctx context.Context, user User, verb string, resource resource, namespace, name string) error {
	review := &unstructured.Unstructured{Object: toMap(map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview",
		"spec": map[string]any{"user": user.Name, "groups": user.groups, "resourceAttributes": map[string]any{
			"verb": verb, "group": resource.group, "version": resource.version, "resource": resource.plural,
			"namespace": namespace, "name": name,
		}},
	})}
	reviews := schema.GroupVersionResource{Group: "authorization.k8s.io", Version: "v1", Resource: "subjectaccessreviews"}
	judged, err := c.Client.Resource(reviews).Create(ctx, review, metav1.CreateOptions{})
	if err != nil {
		return apierrors.NewInternalError(fmt.Errorf("asking whether %q may %s %s: %w", user.Name, verb, resource.plural, err))
	}
	if allowed, _, _ := unstructured.NestedBool(judged.Object, "status", "allowed"); !allowed {
		return forbidden(user, verb, resource, namespace, name)
	}
	return nil
}

func (c *realCluster) checkNamespace(ctx context.Context, name string) error {
	_, err := c.Client.Resource(namespaces.in()).Get(ctx, name, metav1.GetOptions{})
	return err
}

func (c *realCluster) secrets(ctx context.Context, namespace string) ([]*unstructured.Unstructured, error) {
	list, err := c.Client.Resource(secrets.in()).Namespace(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	var found []*unstructured.Unstructured
	for i := range list.Items {
		found = append(found, &list.Items[i])
	}
	return found, nil
}

func (c *realCluster) workloads(r resource) (found []*unstructured.Unstructured) {
	informer, known := c.informers[r]
	if !known {
		return nil
	}
	for _, object := range informer.GetStore().List() {
		if object, ok := object.(*unstructured.Unstructured); ok {
			found = append(found, object)
		}
	}
	return found
}

func (c *realCluster) updateWorkload(ctx context.Context, r resource, object *unstructured.Unstructured) error {
	_, err := c.Client.Resource(r.in()).Namespace(object.GetNamespace()).Update(ctx, object,
		metav1.UpdateOptions{FieldManager: "image-trigger-controller"})
	return err
}

func (*realCluster) serves(r resource) bool { return r.group == imageGroup }

// in is the resource as client-go names it.
func (r resource) in() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: r.group, Version: r.version, Resource: r.plural}
}
