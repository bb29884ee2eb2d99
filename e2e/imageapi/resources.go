package imageapi

import (
	"encoding/json"
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// resource is one kind of object that the API knows.
type resource struct {
	group, version string
	plural, kind   string
	cluster        bool // lives outside of namespaces
	status         bool // its status is written through a subresource
}

var (
	namespaces   = resource{version: "v1", plural: "namespaces", kind: "Namespace", cluster: true}
	secrets      = resource{version: "v1", plural: "secrets", kind: "Secret"}
	services     = resource{version: "v1", plural: "services", kind: "Service"}
	pods         = resource{version: "v1", plural: "pods", kind: "Pod", status: true}
	events       = resource{version: "v1", plural: "events", kind: "Event"}
	controllers  = resource{version: "v1", plural: "replicationcontrollers", kind: "ReplicationController", status: true}
	deployments  = resource{group: "apps", version: "v1", plural: "deployments", kind: "Deployment", status: true}
	replicaSets  = resource{group: "apps", version: "v1", plural: "replicasets", kind: "ReplicaSet", status: true}
	statefulSets = resource{group: "apps", version: "v1", plural: "statefulsets", kind: "StatefulSet", status: true}
	daemonSets   = resource{group: "apps", version: "v1", plural: "daemonsets", kind: "DaemonSet", status: true}
	cronJobs     = resource{group: "batch", version: "v1", plural: "cronjobs", kind: "CronJob", status: true}
	routes       = resource{group: "route.openshift.io", version: "v1", plural: "routes", kind: "Route", status: true}

	deploymentConfigs = resource{group: "apps.openshift.io", version: "v1", plural: "deploymentconfigs",
		kind: "DeploymentConfig", status: true}

	images             = resource{group: imageGroup, version: "v1", plural: "images", kind: "Image", cluster: true}
	imageStreams       = resource{group: imageGroup, version: "v1", plural: "imagestreams", kind: "ImageStream", status: true}
	imageStreamTags    = resource{group: imageGroup, version: "v1", plural: "imagestreamtags", kind: "ImageStreamTag"}
	imageStreamImages  = resource{group: imageGroup, version: "v1", plural: "imagestreamimages", kind: "ImageStreamImage"}
	imageStreamImports = resource{group: imageGroup, version: "v1", plural: "imagestreamimports", kind: "ImageStreamImport"}

	resources = []resource{
		namespaces, secrets, services, pods, events, controllers, deployments, replicaSets, statefulSets, daemonSets,
		cronJobs, deploymentConfigs, routes, images, imageStreams, imageStreamTags, imageStreamImages, imageStreamImports,
		accessReviews, selfReviews,
	}
)

const imageGroup = "image.openshift.io"

func (r resource) groupResource() schema.GroupResource {
	return schema.GroupResource{Group: r.group, Resource: r.plural}
}

func (r resource) groupKind() schema.GroupKind { return schema.GroupKind{Group: r.group, Kind: r.kind} }

func (r resource) apiVersion() string {
	return schema.GroupVersion{Group: r.group, Version: r.version}.String()
}

// answerDiscovery answers the requests by which a client learns what is here, and returns whether this was one.
func answerDiscovery(w http.ResponseWriter, r *http.Request, serves func(resource) bool) bool {
	path := strings.Trim(r.URL.Path, "/")
	switch path {
	case "healthz", "livez", "readyz":
		_, _ = w.Write([]byte("ok"))
	case "version":
		writeJSON(w, http.StatusOK, map[string]string{"major": "1", "minor": "36", "gitVersion": "v1.36.1"})
	case "api":
		writeJSON(w, http.StatusOK, metav1.APIVersions{
			TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"},
			ServerAddressByClientCIDRs: []metav1.ServerAddressByClientCIDR{},
		})
	case "apis":
		writeJSON(w, http.StatusOK, metav1.APIGroupList{
			TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: groups(serves),
		})
	default:
		return answerGroup(w, path, serves)
	}
	return true
}

// answerGroup answers /api/v1, /apis/GROUP and /apis/GROUP/VERSION.
func answerGroup(w http.ResponseWriter, path string, serves func(resource) bool) bool {
	for _, group := range groups(serves) {
		if path == "apis/"+group.Name {
			group.TypeMeta = metav1.TypeMeta{Kind: "APIGroup", APIVersion: "v1"}
			writeJSON(w, http.StatusOK, group)
			return true
		}
	}
	list := metav1.APIResourceList{TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}}
	for _, one := range resources {
		prefix := "apis/" + one.apiVersion()
		if one.group == "" {
			prefix = "api/v1"
		}
		if path != prefix || !serves(one) {
			continue
		}
		list.GroupVersion = one.apiVersion()
		described := metav1.APIResource{
			Name: one.plural, SingularName: strings.ToLower(one.kind), Kind: one.kind, Namespaced: !one.cluster,
			Verbs: metav1.Verbs{"create", "delete", "get", "list", "patch", "update", "watch"},
		}
		switch one.plural {
		case imageStreamImports.plural, accessReviews.plural, selfReviews.plural:
			described.Verbs = metav1.Verbs{"create"}
		case imageStreamImages.plural:
			described.Verbs = metav1.Verbs{"get"}
		case imageStreamTags.plural:
			described.Verbs = metav1.Verbs{"create", "delete", "get", "list", "patch", "update"}
		}
		list.APIResources = append(list.APIResources, described)
		if one.status {
			list.APIResources = append(list.APIResources, metav1.APIResource{
				Name: one.plural + "/status", Kind: one.kind, Namespaced: true, Verbs: metav1.Verbs{"get", "patch", "update"},
			})
		}
	}
	if list.GroupVersion == "" {
		return false
	}
	writeJSON(w, http.StatusOK, list)
	return true
}

// groups lists the API groups that are served, in the order of resources, without the core group.
func groups(serves func(resource) bool) []metav1.APIGroup {
	var list []metav1.APIGroup
	for _, one := range resources {
		if one.group == "" || !serves(one) || (len(list) > 0 && list[len(list)-1].Name == one.group) {
			continue
		}
		version := metav1.GroupVersionForDiscovery{GroupVersion: one.apiVersion(), Version: one.version}
		list = append(list, metav1.APIGroup{
			Name: one.group, Versions: []metav1.GroupVersionForDiscovery{version}, PreferredVersion: version,
		})
	}
	return list
}

func writeJSON(w http.ResponseWriter, code int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(body) // the client is gone: there is nobody left to tell
}
