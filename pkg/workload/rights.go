package workload

import "dockline/pkg/cluster"

// LookRights are what [Client.Survey] and [Client.Await] use.
func LookRights(namespace string) []cluster.Right {
	var rights []cluster.Right
	for _, kind := range append(kinds[:len(kinds):len(kinds)], pods) {
		rights = append(rights, cluster.Right{Verb: "list", Resource: kind, Namespace: namespace})
	}
	return rights
}

// CreateRights are what [Client.CreateApp] uses for an app of that name: what exists already is read.
func CreateRights(namespace, name string) []cluster.Right {
	var rights []cluster.Right
	for _, kind := range []cluster.Resource{deployments, services, routes} {
		rights = append(rights,
			cluster.Right{Verb: "get", Resource: kind, Namespace: namespace, Name: name},
			cluster.Right{Verb: "create", Resource: kind, Namespace: namespace})
	}
	return rights
}
