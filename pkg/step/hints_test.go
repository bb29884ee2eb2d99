package step

import (
	"strings"
	"testing"

	"dockline/pkg/fault"
)

var sides = []string{"", "registry", "source registry", "target registry", "base image registry", "Git server", "cluster"}

// TestEveryKindHasAHint: whatever goes wrong, and wherever, the last line says what to do about it.
func TestEveryKindHasAHint(t *testing.T) {
	t.Parallel()
	for kind := fault.Unexpected; kind <= fault.BuildFailed; kind++ {
		for _, side := range sides {
			if hintFor(kind, side, "", "") == "" {
				t.Errorf("%v on the side %q has no hint", kind, side)
			}
		}
	}
	if (fault.BuildFailed + 1).String() != "" {
		t.Error("there is a kind after the last that this test knows")
	}
}

// TestHints has texts as they are written today, and the word of its hint that counts.
func TestHints(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		kind fault.Kind
		side string
		text string
		says string
	}{
		{fault.NotFound, "Git server", `cloning "https://h/a.git": resolving "v9": the repository has no such branch or tag`, "GIT_REVISION"},
		{fault.NotFound, "Git server", `cloning "https://h/a.git": there is no such repository, or it may not be seen with these credentials`, "GIT_URL"},
		{fault.NotFound, "Git server", `cloning "https://h/a.git": the repository is empty`, "GIT_URL"},
		{fault.NotFound, "Git server", `cloning "https://h/repository.git": resolving "x": the repository has no such commit`, "GIT_REVISION"},
		{fault.Denied, "Git server", `cloning: the host's key is not among the known hosts: knownhosts: key is unknown`, "GIT_KNOWN_HOSTS"},
		{fault.Unavailable, "Git server", `cloning "https://h/a.git": tls: failed to verify certificate: x509: certificate signed by unknown authority`, "GIT_CA_FILE"},
		{fault.Unavailable, "Git server", `cloning "https://h/certificate.git": the server answers 503 Service Unavailable`, "GIT_URL"},

		{fault.NotFound, "registry", `resolving "h/a/certificate-b:1": it is not there`, "IMAGE and REGISTRY"},
		{fault.Unavailable, "registry", `resolving "h/a/certificate-b:1": 503 Service Unavailable`, "started again"},
		{fault.Denied, "target registry", `resolving "h/a/x509:tls": 401 Unauthorized`, "TARGET_REGISTRY_USERNAME"},
		{fault.Unavailable, "source registry", `resolving "h/a/b:1": checking its certificate: signed by an authority that is not known here: x509: certificate signed by unknown authority`, "SOURCE_REGISTRY_CA_FILE"},
		{fault.Unavailable, "target registry", `resolving "h/a/b:1": connecting: it answers in plain http: server gave HTTP response to HTTPS client`, "TARGET_REGISTRY_INSECURE"},
		{fault.Unavailable, "registry", `resolving "h/a/b:1": connecting: no such host: "h"`, "host name in REGISTRY"},
		{fault.Unavailable, "registry", `resolving "h/a/b:1": connecting: dial tcp: lookup h on 1.2.3.4:53: server misbehaving`, "host name in REGISTRY"},
		{fault.Unavailable, "registry", `resolving "h/a/b:1": connecting: dial tcp 1.2.3.4:443: connect: connection refused`, "the port in REGISTRY"},
		{fault.Unavailable, "registry", `resolving "h/lookup:1": losing the connection: EOF`, "started again"},

		{fault.Unavailable, "base image registry", `connecting: no such host: "h"`, "in FROM"},
		{fault.Unavailable, "base image registry", `connecting: dial tcp 1.2.3.4:443: connect: connection refused`, "in FROM"},
		{fault.Unavailable, "base image registry", `connecting: it answers in plain http: server gave HTTP response to HTTPS client`, "in FROM"},
		{fault.Unavailable, "base image registry", `checking its certificate: signed by an authority that is not known here`, "REGISTRY_CA_FILE"},
		{fault.NotFound, "base image registry", `resolving "h/a:1": it is not there`, "in FROM"},
		{fault.Denied, "base image registry", `resolving "h/a:1": 401 Unauthorized`, "DOCKER_AUTH_CONFIG or REGISTRY_AUTH_FILE"},

		{fault.Configuration, "cluster", `no cluster is configured, and this is no pod with a ServiceAccount`, "KUBECONFIG"},
		{fault.Unavailable, "cluster", `reading ImageStream "a" in the namespace "b": connecting to https://h: Get "https://h/x": tls: failed to verify certificate: x509: unknown`, "KUBE_CA_FILE"},
		{fault.Denied, "cluster", `reading ImageStream "a": the cluster refuses the credentials: Unauthorized`, "KUBE_TOKEN"},
		{fault.Denied, "cluster", `reading ImageStream "unauthorized" in the namespace "b": no right`, "Role"},
		{fault.Denied, "cluster", `importing "h/a/b:1" into a:dev: the cluster says Unauthorized: you may not have access`, "own secrets"},
		{fault.NotFound, "cluster", `importing "h/a/b:1" into a:dev: the cluster says NotFound: not found`, "IMAGE"},
		{fault.Unavailable, "cluster", `importing "h/a/b:1" into a:dev: the cluster says InternalError: x509: certificate signed by unknown authority`, "IMPORT_INSECURE"},
	} {
		if got := hintFor(row.kind, row.side, row.text, ""); !strings.Contains(got, row.says) {
			t.Errorf("%v, %s: %s:\ngot the hint %q, want one with %q", row.kind, row.side, row.text, got, row.says)
		}
		if got := hintFor(row.kind, row.side, row.text, ""); row.side == "base image registry" && strings.Contains(got, "REGISTRY_INSECURE") {
			t.Errorf("a base image from elsewhere is never insecure: %q", got)
		}
	}
}
