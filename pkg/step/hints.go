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

var hints = []hint{
	{0, "", regexp.MustCompile(`no cluster is configured`), "set KUBECONFIG, or KUBE_SERVER and KUBE_TOKEN"},
	{fault.Configuration, "", nil, "--help prints the table of variables, --print-config what was read"},
	{0, "registry", regexp.MustCompile(`x509|certificate|tls:`),
		"name the CA that signs the registry's certificate in {P}REGISTRY_CA_FILE"},
	{0, "registry", regexp.MustCompile(`HTTP response to HTTPS client`),
		"the registry speaks plain http: set {P}REGISTRY_INSECURE=true if that is meant"},
	{0, "registry", regexp.MustCompile(`no such host|lookup `), "check the registry's host name in {P}REGISTRY"},
	{0, "registry", regexp.MustCompile(`connection refused|no route|network is unreachable`),
		"check the host and the port in {P}REGISTRY, and that the registry runs"},
	{fault.Denied, "registry", nil,
		"check {P}REGISTRY_USERNAME and {P}REGISTRY_PASSWORD, and that this account has the right to do this"},
	{fault.NotFound, "source registry", nil,
		"check IMAGE and SOURCE_REGISTRY, and that the build pushed this version"},
	{fault.NotFound, "registry", nil, "check IMAGE and {P}REGISTRY, and that this version was pushed"},
	{fault.Denied, "Git server", nil, "check GIT_USERNAME and GIT_PASSWORD (or GIT_SSH_KEY), and the account's rights"},
	{fault.NotFound, "Git server", regexp.MustCompile(`resolving `), "check GIT_REVISION: a branch, a tag or a full commit hash"},
	{fault.NotFound, "Git server", nil, "check GIT_URL, and that the account may read it"},
	{0, "Git server", regexp.MustCompile(`x509|certificate|tls:`),
		"name the CA that signs the Git server's certificate in GIT_CA_FILE"},
	{fault.Unavailable, "Git server", nil, "check GIT_URL, and that the Git server runs; this step may be started again"},
	{0, "cluster", regexp.MustCompile(`x509|certificate|tls:`),
		"name the CA that signs the cluster's certificate in KUBE_CA_FILE"},
	{fault.Denied, "cluster", regexp.MustCompile(`(?i)unauthorized`), "the cluster refuses the token: renew KUBE_TOKEN (or KUBECONFIG)"},
	{fault.Denied, "cluster", nil, "give the account the Role that tekton/ ships for this step"},
	{fault.NotFound, "cluster", nil, "check NAMESPACE and STREAM_TAG"},
	{fault.Unavailable, "cluster", nil, "check KUBE_SERVER (or KUBECONFIG), and that the cluster's API answers"},
	{fault.Unavailable, "", nil, "this step may be started again: it takes up where it stopped"},
	{fault.TimedOut, "", nil, "look at what it waited for, and raise TIMEOUT if that is only slow"},
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
