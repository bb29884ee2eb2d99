// Package cluster reaches a Kubernetes or OpenShift API with the dynamic client: objects are read and written as they
// are, so that no typed clientset (15 MB a program) is linked and no field is lost that this program does not know.
//
// Calls are repeated while the API is overloaded or away. Every error is told as the side "cluster" and has a kind of
// package fault: 401 and 403 fault.Denied with the API's own words, 404 fault.NotFound, 409 is a [ErrConflict], an API
// that stays away fault.Unavailable.
package cluster

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"

	"dockline/pkg/fault"
)

// Side names the cluster in errors.
const Side = "cluster"

// Config says where the API is. With neither Kubeconfig nor Server set, a pod's own ServiceAccount is used.
type Config struct {
	Kubeconfig string // path, or several as in $PATH; the current context counts
	Server     string // https://HOST:PORT
	Token      string // bearer token for Server
	CA         []byte // PEM that signs Server's certificate; the default is the system's pool
	UserAgent  string // the default is "dockline"
	// Warn is called with what the API warns about, such as a deprecated version, and with what a kubeconfig's credential
	// plugin has to say. The default drops it.
	Warn func(text string)
	// Secret, when set, is told of every secret that the settings hold or bring forth, before it is used.
	Secret func(secrets ...string)
	// Patience says how often and how long to try. The zero value is [DefaultPatience].
	Patience Patience
	// Retrying, when set, is told of every repetition.
	Retrying func(Retry)
}

// Cluster is one cluster with the credentials of one user. It is safe for concurrent use.
type Cluster struct {
	server   string
	patience Patience
	retrying func(Retry)
	client   dynamic.Interface
	watcher  dynamic.Interface // without a limit on how long an answer may take
}

// Connect reads the configuration; it does not connect yet. Its errors are of kind fault.Configuration. A token is
// sent by plain http to this machine only.
func Connect(config Config) (*Cluster, error) {
	// client-go writes of itself to stderr, around every mask. What matters of it arrives as an error.
	silence.Do(func() { klog.SetLogger(logr.Discard()) })
	settings, err := restConfig(config)
	if err != nil {
		return nil, fault.At(Side, fault.As(fault.Configuration, err))
	}
	settings.UserAgent = "dockline"
	if config.UserAgent != "" {
		settings.UserAgent = config.UserAgent
	}
	settings.QPS = -1 // one step makes a few calls a second; the server's own limits are obeyed
	settings.WarningHandler = warnings(config.Warn)
	settings.ContentConfig = rest.ContentConfig{ContentType: "application/json", AcceptContentTypes: "application/json"}
	patience := config.Patience.orDefault()
	cluster := &Cluster{server: settings.Host, patience: patience, retrying: config.Retrying}

	if config.Secret != nil {
		config.Secret(secretsOf(settings)...)
		settings.Wrap(func(next http.RoundTripper) http.RoundTripper {
			return &learner{RoundTripper: next, tell: config.Secret}
		})
	}
	if settings.ExecProvider != nil {
		settings.Wrap(func(next http.RoundTripper) http.RoundTripper { return passed{next} })
	}
	client, err := overhear(settings, warnings(config.Warn).say, rest.HTTPClientFor)
	if err != nil {
		return nil, fault.At(Side, fault.New(fault.Configuration, "reading the cluster's settings: %w", err))
	}
	watching := *client // a copy: without settings of its own it is http.DefaultClient
	watching.CheckRedirect = checkRedirect
	if settings.ExecProvider != nil {
		watching.Transport = leavable{watching.Transport, settings.ExecProvider.Command}
	}
	watching.Transport = once{watching.Transport}
	cluster.watcher, err = dynamic.NewForConfigAndClient(settings, &watching)
	if err == nil {
		limited := watching
		limited.Timeout = patience.Silence
		cluster.client, err = dynamic.NewForConfigAndClient(settings, &limited)
	}
	if err != nil {
		return nil, fault.At(Side, fault.New(fault.Configuration, "reading the cluster's settings: %w", err))
	}
	return cluster, nil
}

// Patience returns how often and how long calls are tried.
func (c *Cluster) Patience() Patience { return c.patience }

var silence sync.Once

func restConfig(config Config) (*rest.Config, error) {
	switch {
	case config.Kubeconfig != "" && config.Server != "":
		return nil, fmt.Errorf("a kubeconfig and a server are both given")
	case config.Kubeconfig != "":
		return fromKubeconfig(config.Kubeconfig)
	case config.Server != "":
		if !strings.HasPrefix(config.Server, "https://") && !strings.HasPrefix(config.Server, "http://") {
			return nil, fmt.Errorf("the server %q is no address such as https://api.example.com:6443", config.Server)
		}
		if config.Token != "" && showsWhatIsSent(config.Server) {
			return nil, fmt.Errorf("plain http would show the token on its way to %q: use https", config.Server)
		}
		return &rest.Config{
			Host: config.Server, BearerToken: config.Token, TLSClientConfig: rest.TLSClientConfig{CAData: config.CA},
		}, nil
	}
	settings, err := rest.InClusterConfig()
	if err != nil {
		return nil, fmt.Errorf("no cluster is configured, and this is no pod with a ServiceAccount: %w", err)
	}
	return settings, nil
}

// showsWhatIsSent says whether an address is plain http to another machine. (Of a kubeconfig client-go itself sends no
// credentials there.)
func showsWhatIsSent(address string) bool {
	server, err := url.Parse(address)
	return err != nil || server.Scheme == "http" && server.Hostname() != "localhost" && !net.ParseIP(server.Hostname()).IsLoopback()
}

func fromKubeconfig(paths string) (*rest.Config, error) {
	for _, path := range filepath.SplitList(paths) {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("reading the kubeconfig: %w", err)
		}
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: filepath.SplitList(paths)}
	settings, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig %q: %w", paths, err)
	}
	return settings, nil
}

type warnings func(string)

// HandleWarningHeader receives the API's Warning headers (RFC 7234, section 5.5).
func (w warnings) HandleWarningHeader(code int, _ string, text string) {
	if code == 299 && text != "" {
		w.say("the cluster warns: " + text)
	}
}

func (w warnings) say(text string) {
	if w != nil {
		w(text)
	}
}
