package kaniko

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/containerd/platforms"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/osscontainertools/kaniko/pkg/config"
	"github.com/osscontainertools/kaniko/pkg/util"
	"golang.org/x/sys/unix"
)

// options sets what Kaniko's own command line would (cmd/executor/cmd/root.go in v1.27.5): its packages' zero values are
// not usable.
func options(told order) (*config.KanikoOptions, error) {
	options := &config.KanikoOptions{
		DockerfilePath: told.DockerfilePath, SrcContext: told.ContextDir, BuildArgs: told.BuildArgs, Labels: told.Labels,
		SnapshotMode: "full", CustomPlatform: told.Platform, Compression: config.GZip, CompressionLevel: -1,
		CompressedCaching: true, CacheRunLayers: true, IgnoreVarRun: true, NoPush: true, NoPushCache: true,
		Reproducible: told.Reproducible, PreCleanup: told.Fresh, SkipPushPermissionCheck: true, Secrets: config.SecretOptions{},
	}
	if options.CustomPlatform == "" {
		options.CustomPlatform = platforms.Format(platforms.Normalize(platforms.DefaultSpec()))
	}
	if _, err := v1.ParsePlatform(options.CustomPlatform); err != nil {
		return nil, fmt.Errorf("reading the platform %q: %w", options.CustomPlatform, err)
	}
	if told.Target != "" {
		options.Target = []string{told.Target}
	}
	for id, value := range told.Secrets {
		path, err := keepSecret(value)
		if err != nil {
			return nil, fmt.Errorf("keeping the secret %q: %w", id, err)
		}
		options.Secrets[id] = config.SecretOption{Type: "file", Src: path}
	}
	if err := throughParent(told.Proxy, told.Hosts); err != nil {
		return nil, err
	}
	options.InsecurePull = true              // to the parent it is http, on loopback; the parent speaks https
	options.CredentialHelpers = []string{""} // none
	util.AddToDefaultIgnoreList(util.IgnoreListEntry{Path: "/var/run"})
	return options, nil
}

// throughParent has Kaniko ask the registries through the parent. What ADD downloads goes its usual way. The password
// of the proxy is in this process's memory alone, which a RUN cannot read, and in no address that is logged.
func throughParent(proxy string, hosts []string) error {
	parent, err := url.Parse(proxy)
	if err != nil {
		return fmt.Errorf("reading the parent's address: %w", err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:errcheck,forcetypeassert // net/http says so
	transport.Proxy = func(r *http.Request) (*url.URL, error) {
		if slices.Contains(hosts, r.URL.Host) && strings.HasPrefix(r.URL.Path, "/v2/") {
			return parent, nil
		}
		return http.ProxyFromEnvironment(r)
	}
	http.DefaultTransport = transport // Kaniko clones it for every registry
	return nil
}

// keepSecret puts a build secret into a file without a name, and returns the path under which this process, and no RUN,
// opens it as often as it likes.
func keepSecret(value []byte) (path string, err error) {
	fd, err := unix.MemfdCreate("", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	// The file stays open: an os.File that is forgotten would close it.
	for written := 0; written < len(value); {
		n, err := unix.Write(fd, value[written:])
		if err != nil {
			return "", err
		}
		written += n
	}
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), fd), nil
}
