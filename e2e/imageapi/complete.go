package imageapi

import (
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// complete fills in what a cluster fills in when an object is written: defaults, and what it hands out.
func (s *Server) complete(r resource, object *unstructured.Unstructured) {
	switch r {
	case namespaces:
		put(object.Object, "Active", "status", "phase")
	case secrets:
		completeSecret(object.Object)
	case services:
		completeService(object)
	case deployments, replicaSets, statefulSets, daemonSets, deploymentConfigs, controllers:
		s.completeWorkload(r, object.Object)
	case routes:
		s.completeRoute(object)
	}
}

func completeSecret(secret map[string]any) {
	plain, _, _ := unstructured.NestedStringMap(secret, "stringData")
	for name, value := range plain {
		put(secret, base64.StdEncoding.EncodeToString([]byte(value)), "data", name)
	}
	delete(secret, "stringData")
	putDefault(secret, "Opaque", "type")
}

// completeService hands out a cluster IP in 127.96.0.0/16, from the name: loopback, but nothing listens on it.
func completeService(service *unstructured.Unstructured) {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(service.GetNamespace() + "/" + service.GetName()))
	address := fmt.Sprintf("127.96.%d.%d", hash.Sum32()>>8&0xff, hash.Sum32()&0xff)
	object := service.Object
	putDefault(object, address, "spec", "clusterIP")
	putDefault(object, []any{text(object, "spec", "clusterIP")}, "spec", "clusterIPs")
	putDefault(object, "Cluster", "spec", "internalTrafficPolicy")
	putDefault(object, []any{"IPv4"}, "spec", "ipFamilies")
	putDefault(object, "SingleStack", "spec", "ipFamilyPolicy")
	putDefault(object, "None", "spec", "sessionAffinity")
	putDefault(object, "ClusterIP", "spec", "type")
	for _, port := range items(object, "spec", "ports") {
		putDefault(port, "TCP", "protocol")
		putDefault(port, port["port"], "targetPort")
	}
	putDefault(object, map[string]any{"loadBalancer": map[string]any{}}, "status")
}

// completeWorkload sets the defaults of apps/v1 and apps.openshift.io/v1.
func (s *Server) completeWorkload(r resource, object map[string]any) {
	switch r {
	case deployments:
		putDefault(object, int64(s.options.ProgressDeadline.Seconds()), "spec", "progressDeadlineSeconds")
		putDefault(object, int64(10), "spec", "revisionHistoryLimit")
		putDefault(object, "RollingUpdate", "spec", "strategy", "type")
		if text(object, "spec", "strategy", "type") == "RollingUpdate" {
			putDefault(object, map[string]any{"maxSurge": "25%", "maxUnavailable": "25%"}, "spec", "strategy", "rollingUpdate")
		}
	case deploymentConfigs:
		putDefault(object, "Rolling", "spec", "strategy", "type")
	case statefulSets, daemonSets:
		putDefault(object, "RollingUpdate", "spec", "updateStrategy", "type")
	}
	if r != daemonSets {
		putDefault(object, int64(1), "spec", "replicas")
	}
	completePodSpec(object, "spec", "template", "spec")
}

func completePodSpec(object map[string]any, path ...string) {
	for _, container := range items(object, append(path, "containers")...) {
		for name, value := range map[string]any{
			"imagePullPolicy": "IfNotPresent", "resources": map[string]any{},
			"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
		} {
			putDefault(container, value, name)
		}
		for _, port := range items(container, "ports") {
			putDefault(port, "TCP", "protocol")
		}
	}
	for name, value := range map[string]any{
		"dnsPolicy": "ClusterFirst", "restartPolicy": "Always", "schedulerName": "default-scheduler",
		"securityContext": map[string]any{}, "terminationGracePeriodSeconds": int64(30),
	} {
		putDefault(object, value, append(path, name)...)
	}
}

func (s *Server) completeRoute(route *unstructured.Unstructured) {
	if text(route.Object, "spec", "host") == "" {
		put(route.Object, route.GetName()+"-"+route.GetNamespace()+"."+s.options.RouteDomain, "spec", "host")
		annotations := maps.Clone(route.GetAnnotations())
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations["openshift.io/host.generated"] = "true"
		route.SetAnnotations(annotations)
	}
	putDefault(route.Object, "Service", "spec", "to", "kind")
	putDefault(route.Object, int64(100), "spec", "to", "weight")
	putDefault(route.Object, "None", "spec", "wildcardPolicy")
	put(route.Object, []any{map[string]any{
		"host": text(route.Object, "spec", "host"), "routerName": "default", "wildcardPolicy": "None",
		"conditions": []any{map[string]any{"type": "Admitted", "status": "True"}},
	}}, "status", "ingress")
}
