package imageapi

import (
	"fmt"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Router returns what stands before the services of the cluster: a reverse proxy from routes to ready pods. A route is
// found by its host, as on a cluster, or, since names such as web-dev.apps.test resolve nowhere on a machine without a
// DNS of its own (nor does Go resolve *.localhost), by /NAMESPACE/ROUTE/ at the beginning of the path of any other host,
// which is then left out of what the pod sees. Without a ready pod the answer is 503, as on a cluster.
func (s *Server) Router() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route, rest := s.route(r)
		if route == nil {
			http.Error(w, "Application is not available: no route has this host or path.", http.StatusServiceUnavailable)
			return
		}
		port := s.backend(route)
		if port == "" {
			http.Error(w, "Application is not available: the route has no ready pod.", http.StatusServiceUnavailable)
			return
		}
		target := &url.URL{Scheme: "http", Host: "127.0.0.1:" + port}
		proxy := &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Path, p.Out.URL.RawPath = rest, ""
				p.SetURL(target)
				p.SetXForwarded()
				if prefix := strings.TrimSuffix(r.URL.Path, rest); prefix != "" {
					p.Out.Header.Set("X-Forwarded-Prefix", prefix)
				}
			},
			ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
				http.Error(w, "Application is not available: "+err.Error(), http.StatusServiceUnavailable)
			},
		}
		proxy.ServeHTTP(w, r)
	})
}

// route finds the route of a request and the path that the pod is to see.
func (s *Server) route(r *http.Request) (*unstructured.Unstructured, string) {
	host, _, _ := strings.Cut(r.Host, ":")
	found, _ := s.store.list(routes, "")
	for _, route := range found {
		if text(route.Object, "spec", "host") == host {
			return route, r.URL.Path
		}
	}
	for _, route := range found {
		prefix := fmt.Sprintf("/%s/%s", route.GetNamespace(), route.GetName())
		if rest, below := strings.CutPrefix(r.URL.Path, prefix); below && (rest == "" || rest[0] == '/') {
			return route, "/" + strings.TrimPrefix(rest, "/")
		}
	}
	return nil, ""
}

// backend returns the loopback port of a ready pod of the route's service, or "".
func (s *Server) backend(route *unstructured.Unstructured) string {
	service, err := s.store.get(services, route.GetNamespace(), text(route.Object, "spec", "to", "name"))
	if err != nil {
		return ""
	}
	selector, _, _ := unstructured.NestedStringMap(service.Object, "spec", "selector")
	found, _ := s.store.list(pods, route.GetNamespace())
	for _, pod := range found {
		if pod.GetDeletionTimestamp() == nil && matches(selector, pod.GetLabels()) &&
			ready([]*unstructured.Unstructured{pod}) > 0 && pod.GetAnnotations()[portAnnotation] != "" {
			return pod.GetAnnotations()[portAnnotation]
		}
	}
	return ""
}

// matches says whether labels have all that a service's selector wants; one that wants nothing matches nothing.
func matches(selector, labels map[string]string) bool {
	for name, value := range selector {
		if labels[name] != value {
			return false
		}
	}
	return len(selector) > 0
}
