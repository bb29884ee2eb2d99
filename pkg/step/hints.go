package step

import (
	"regexp"
	"strings"

	"dockline/pkg/fault"
)

// hint is a row of the table: the first row that fits an error in all that it names says what to do about it.
type hint struct {
	kind fault.Kind     // 0 fits any
	side string         // the end of a side's name: "registry" fits "source registry"; "" fits any
	text *regexp.Regexp // nil fits any
	say  string         // {P} is the variables' prefix on that side: SOURCE_, TARGET_ or nothing
}

// The texts that rows are told apart by are those that our own packages and Go write: an image, a branch or a server's
// words, which are in the same line, must not choose the hint. The last rows have one for every kind.
var hints = []hint{
	{fault.Configuration, "", regexp.MustCompile(`no cluster is configured`), "set KUBECONFIG, or KUBE_SERVER and KUBE_TOKEN"},
	{fault.Configuration, "", nil, "--help prints the table of variables, --print-config what was read"},

	{0, "registry", regexp.MustCompile(`connecting through the proxy`),
		"check the proxy and its account in HTTPS_PROXY (or HTTP_PROXY), and name the hosts to reach directly in NO_PROXY"},
	{fault.Denied, "registry", regexp.MustCompile(`connecting: it does not take our client certificate`),
		"give the certificate and the key that this registry asks for in {P}REGISTRY_CERT_FILE and {P}REGISTRY_KEY_FILE"},
	{fault.Unavailable, "registry", regexp.MustCompile(`checking its certificate: |: tls: |: x509: `),
		"name the CA that signs the registry's certificate in {P}REGISTRY_CA_FILE"},
	{fault.Unavailable, "base image registry", regexp.MustCompile(`connecting: it answers in plain http`),
		"check the host in FROM: a base image is fetched by https alone, unless its registry is the one in REGISTRY"},
	{fault.Unavailable, "base image registry", regexp.MustCompile(`connecting: `),
		"check the host of the image in FROM, and that its registry answers"},
	{fault.NotFound, "base image registry", nil, "check the image in FROM (or COPY --from): its name and its version"},
	{fault.Denied, "base image registry", nil,
		"check the image in FROM, and the account for its registry in DOCKER_AUTH_CONFIG or REGISTRY_AUTH_FILE"},
	{fault.Unavailable, "registry", regexp.MustCompile(`connecting: it answers in plain http`),
		"the registry speaks plain http: set {P}REGISTRY_INSECURE=true if that is meant"},
	{fault.Unavailable, "registry", regexp.MustCompile(`connecting: no such host: |connecting: dial tcp: lookup `),
		"check the registry's host name in {P}REGISTRY"},
	{fault.Unavailable, "registry", regexp.MustCompile(`connecting: .*: (connection refused|no route to host|network is unreachable)`),
		"check the host and the port in {P}REGISTRY, and that the registry runs"},
	{fault.Denied, "registry", nil,
		"check {P}REGISTRY_USERNAME and {P}REGISTRY_PASSWORD, and that this account has the right to do this"},
	{fault.NotFound, "source registry", nil,
		"check IMAGE and SOURCE_REGISTRY, and that the build pushed this version"},
	{fault.NotFound, "registry", nil, "check IMAGE and {P}REGISTRY, and that this version was pushed"},

	{0, "Git server", regexp.MustCompile(`connecting through the proxy`),
		"check the proxy and its account in HTTPS_PROXY (or HTTP_PROXY), and name the hosts to reach directly in NO_PROXY"},
	{fault.Denied, "Git server", regexp.MustCompile(`the host's key is not among the known hosts`),
		"check that this is the right server, and put its key into GIT_KNOWN_HOSTS"},
	{fault.Denied, "Git server", nil, "check GIT_USERNAME and GIT_PASSWORD (or GIT_SSH_KEY), and the account's rights"},
	{fault.NotFound, "Git server", regexp.MustCompile(`there is no such repository|the repository is empty`),
		"check GIT_URL, and that the account may read it"},
	{fault.NotFound, "Git server", nil, "check GIT_REVISION: a branch, a tag or a full commit hash"},
	{fault.Unavailable, "Git server", regexp.MustCompile(`: (tls|x509): `),
		"name the CA that signs the Git server's certificate in GIT_CA_FILE"},
	{fault.Unavailable, "Git server", nil, "check GIT_URL, and that the Git server runs; this step may be started again"},

	{fault.Unavailable, "cluster", regexp.MustCompile(`connecting to \S+: .*: (tls|x509): `),
		"name the CA that signs the cluster's certificate in KUBE_CA_FILE"},
	{fault.Denied, "cluster", regexp.MustCompile(`the cluster refuses the credentials: `),
		"the cluster refuses the token: renew KUBE_TOKEN (or KUBECONFIG)"},
	{fault.Denied, "cluster", regexp.MustCompile(`: the cluster says \w+: `),
		"the cluster pulls images with its own secrets: check those of the namespace"},
	{fault.NotFound, "cluster", regexp.MustCompile(`: the cluster says \w+: `), "check IMAGE and REGISTRY, and that this version was pushed"},
	{fault.Unavailable, "cluster", regexp.MustCompile(`: the cluster says \w+: `),
		"the cluster itself must be able to reach the registry, and trust its certificate (or set IMPORT_INSECURE=true)"},
	{fault.Denied, "cluster", nil, "give the account the Role that tekton/ ships for this step"},
	{fault.NotFound, "cluster", nil, "check NAMESPACE and STREAM_TAG (or WORKLOADS)"},
	{fault.Unavailable, "cluster", nil, "check KUBE_SERVER (or KUBECONFIG), and that the cluster's API answers"},

	{fault.Refused, "", nil, "a rule of this step forbids it: look at both sides of what it says before you change either"},
	{fault.NotFound, "", nil, "check that what is named there exists, and is spelled so"},
	{fault.Denied, "", nil, "check the account, and that it has the right to do this"},
	{fault.Unavailable, "", nil, "this step may be started again: it takes up where it stopped"},
	{fault.TimedOut, "", nil, "look at what it waited for, and raise TIMEOUT if that is only slow"},
	{fault.Wrong, "", nil, "what was found is not what it should be: the log above tells how it came to that"},
	{fault.BuildFailed, "", nil, "mend the Dockerfile or its context and build again"},
	{fault.Unexpected, "", nil, "this looks like a bug: run again with LOG_LEVEL=debug and report what it says"},
}

// hintFor returns the error's own hint, else the table's first fitting row, else "".
func hintFor(kind fault.Kind, side, text, own string) string {
	if own != "" {
		return strings.TrimSuffix(own, ".")
	}
	for _, row := range hints {
		if (row.kind == 0 || row.kind == kind) && strings.HasSuffix(side, row.side) &&
			(row.text == nil || row.text.MatchString(text)) {
			return strings.ReplaceAll(row.say, "{P}", prefixOf(side))
		}
	}
	return ""
}

func prefixOf(side string) string {
	switch {
	case strings.HasPrefix(side, "source"):
		return "SOURCE_"
	case strings.HasPrefix(side, "target"):
		return "TARGET_"
	}
	return ""
}
