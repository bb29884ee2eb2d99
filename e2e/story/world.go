package story

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"dockline/e2e/baseimage"
	"dockline/e2e/certificate"
	"dockline/e2e/gitserver"
	sample "dockline/e2e/hello"
	"dockline/e2e/imageapi"
)

// World is where the story takes place: servers on loopback, each a program of its own, all with TLS and passwords.
type World struct {
	CA                  []byte // PEM, of all servers
	Testing, Production *Registry
	Dev, Prod           *Environment

	dir         string
	servers     []*server
	gitURL      string // of the service's repository
	gitPassword string
	output      bytes.Buffer // all that steps have written
	client      *http.Client // trusts CA
}

const (
	gitUser  = "developer"
	BaseName = "deepsky/awl-deepsky-web:1"
	appName  = "hello-app"
)

// schedule is the time between two imports of a scheduled tag: on a cluster it is 15 minutes.
const schedule = 2 * time.Second

// Open starts the world with the programs in a folder and its files in another, which the caller removes.
func Open(ctx context.Context, programs, dir string) (_ *World, err error) {
	w := &World{dir: dir, gitPassword: rand.Text()}
	defer func() {
		if err != nil {
			w.Close()
		}
	}()
	made, err := certificate.New()
	if err != nil {
		return nil, err
	}
	public, key, err := made.Write(dir)
	if err != nil {
		return nil, err
	}
	w.CA = made.CertificatePEM
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(w.CA)
	w.client = &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted, MinVersion: tls.VersionTLS12}},
	}
	secure := []string{"-certificate", public, "-key", key}
	if w.Testing, err = w.openRegistry(ctx, programs, "testing", secure); err != nil {
		return nil, err
	}
	if w.Production, err = w.openRegistry(ctx, programs, "production", secure); err != nil {
		return nil, err
	}
	lines, err := w.serve(ctx, 1, []string{"PASSWORD=" + w.gitPassword}, filepath.Join(programs, "gitserver"),
		append([]string{"-root", filepath.Join(dir, "git"), "-username", gitUser}, secure...)...)
	if err != nil {
		return nil, err
	}
	w.gitURL = lines[0] + "/hello.git"
	if err := w.openCluster(ctx, programs, secure); err != nil {
		return nil, err
	}
	base, err := baseimage.Web(ctx)
	if err != nil {
		return nil, err
	}
	return w, w.Testing.push(ctx, BaseName, base)
}

// Close stops all servers, the latest first.
func (w *World) Close() {
	for _, server := range slices.Backward(w.servers) {
		server.stop()
	}
	w.servers = nil
}

// serve starts a server that Close stops.
func (w *World) serve(ctx context.Context, lines int, environment []string, program string, args ...string) ([]string, error) {
	started, said, err := start(ctx, lines, environment, program, args...)
	if err != nil {
		return nil, err
	}
	w.servers = append(w.servers, started)
	return said, nil
}

func (w *World) openRegistry(ctx context.Context, programs, name string, secure []string) (*Registry, error) {
	r := &Registry{Username: name + "-robot", Password: rand.Text(), client: w.client}
	lines, err := w.serve(ctx, 1, []string{"PASSWORD=" + r.Password}, filepath.Join(programs, "registry"),
		append([]string{"-root", filepath.Join(w.dir, name), "-username", r.Username}, secure...)...)
	if err != nil {
		return nil, err
	}
	r.Host = lines[0]
	return r, nil
}

// openCluster starts the cluster with a namespace, a pull secret and an account for each environment.
func (w *World) openCluster(ctx context.Context, programs string, secure []string) error {
	admin := rand.Text()
	w.Dev = &Environment{Namespace: "dev", registry: w.Testing, Token: rand.Text(), admin: admin, client: w.client}
	w.Prod = &Environment{Namespace: "prod", registry: w.Production, Token: rand.Text(), admin: admin, client: w.client}
	accounts, err := yaml.Marshal([]imageapi.User{w.Dev.account(), w.Prod.account()})
	if err != nil {
		return err
	}
	users, pods, ca := filepath.Join(w.dir, "users.yaml"), filepath.Join(w.dir, "pods"), filepath.Join(w.dir, "ca.pem")
	if err := errors.Join(os.WriteFile(users, accounts, 0o600), os.Mkdir(pods, 0o700),
		os.WriteFile(ca, w.CA, 0o644)); err != nil { //nolint:gosec // public
		return err
	}
	lines, err := w.serve(ctx, 2, []string{"ADMIN_TOKEN=" + admin}, filepath.Join(programs, "imageapi"), append([]string{
		"-namespaces", "dev,prod", "-users", users, "-registry-ca", ca, "-dir", pods,
		"-schedule", schedule.String(), "-trigger-delay", "200ms",
	}, secure...)...)
	if err != nil {
		return err
	}
	for _, e := range []*Environment{w.Dev, w.Prod} {
		e.API, e.Router = strings.TrimPrefix(lines[0], "api "), strings.TrimPrefix(lines[1], "router ")
		if err := e.addPullSecret(ctx); err != nil {
			return err
		}
	}
	return nil
}

// hello is the sample service at one commit: version → what its page says.
type hello map[string]string

// commit writes the service as the next commit of develop, and returns the commit.
func (w *World) commit(message string, service hello) (string, error) {
	files := map[string]string{}
	for _, version := range slices.Sorted(maps.Keys(service)) {
		dir := "hello_v" + version
		err := fs.WalkDir(sample.Files, dir, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			text, err := sample.Files.ReadFile(path)
			page := Heading(string(text))
			files[path] = strings.ReplaceAll(string(text), "<h1>"+page+"</h1>", "<h1>"+service[version]+"</h1>")
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return gitserver.Commit(w.repository(), "develop", message, gitserver.Text(files))
}

// repository is the folder of the service's repository.
func (w *World) repository() string { return filepath.Join(w.dir, "git", "hello.git") }

// Heading is what a page says: the text of its first h1.
func Heading(page string) string {
	_, rest, _ := strings.Cut(page, "<h1>")
	text, _, found := strings.Cut(rest, "</h1>")
	if !found {
		return ""
	}
	return text
}

func (w *World) remember(o *Outcome) {
	fmt.Fprintln(&w.output, o.Stdout, o.Stderr, o.Results)
}

// kept wants no secret of the world in what the steps have written.
func (w *World) kept(name string) Fact {
	return Fact{name, Output{}, func(context.Context) error {
		for what, secret := range map[string]string{
			"the password of testing": w.Testing.Password, "the password of production": w.Production.Password,
			"the password of Git": w.gitPassword, "dev's token": w.Dev.Token, "prod's token": w.Prod.Token,
		} {
			if strings.Contains(w.output.String(), secret) {
				return fmt.Errorf("%s is in it", what)
			}
		}
		return nil
	}}
}

// ask asks a server and returns its answer, which must be of a given status.
func ask(ctx context.Context, client *http.Client, method, url, token string, body any, status int) ([]byte, error) {
	var content io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, err
		}
		content = bytes.NewReader(text)
	}
	request, err := http.NewRequestWithContext(ctx, method, url, content)
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := client.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err == nil && response.StatusCode != status {
		err = fmt.Errorf("%s %s is answered %d: %s", method, url, response.StatusCode, text)
	}
	return text, err
}
