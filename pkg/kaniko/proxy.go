package kaniko

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// proxy lets the child pull the images that the Dockerfile names, with credentials that stay in the parent: an HTTP
// proxy on loopback (RFC 9110, section 7.6), whose password only the child knows, for a RUN can connect to it too. It
// answers GET and HEAD for the manifests of the allowed repositories, and for the blobs to which these manifests refer.
type proxy struct {
	puller   Puller
	password string
	allowed  map[string]name.Repository // by HOST/PATH
	optional string                     // the one of them that may lack what is asked for: the cache
	listener net.Listener
	server   *http.Server
	doors    []*http.Server

	mu    sync.Mutex
	blobs map[string]int64 // by HOST/PATH@DIGEST: the sizes of those that served manifests refer to
	cause error            // why the first pull failed, for the build's own error
}

func (b Build) startProxy() (*proxy, error) {
	p := &proxy{
		puller: b.Puller, password: rand.Text(), allowed: map[string]name.Repository{},
		blobs: map[string]int64{},
	}
	for _, image := range b.Images {
		reference, err := name.ParseReference(image, name.WeakValidation)
		if err != nil {
			return nil, fault.New(fault.BuildFailed, "reading the image name %q: %w", image, err)
		}
		p.allowed[reference.Context().Name()] = reference.Context()
	}
	if b.Cache != nil {
		p.optional = b.Cache.Repository.Name()
		p.allowed[p.optional] = b.Cache.Repository
	}
	var err error
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.New(fault.Unexpected, "listening on loopback for the build's pulls: %w", err)
	}
	p.server = p.newServer(p)
	go func() {
		var crash error // the child's pulls fail then
		defer fault.Catch(&crash)
		_ = p.server.Serve(p.listener) // ends with close
	}()
	return p, nil
}

func (p *proxy) newServer(handler http.Handler) *http.Server {
	return &http.Server{
		Handler: handler, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0), // what it says is not masked
	}
}

// url is where the child finds the proxy, password included.
func (p *proxy) url() string {
	return (&url.URL{
		Scheme: "http", User: url.UserPassword("build", p.password), Host: p.listener.Addr().String(),
	}).String()
}

// hosts lists the registries that the proxy answers for.
func (p *proxy) hosts() []string {
	hosts := map[string]bool{}
	for _, repository := range p.allowed {
		hosts[repository.RegistryStr()] = true
	}
	return slices.Sorted(maps.Keys(hosts))
}

func (p *proxy) close() {
	for _, server := range append(p.doors, p.server) {
		_ = server.Close()
	}
}

// failed returns why the first pull failed.
func (p *proxy) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// contentPath is what clients read of a registry (distribution specification, "Pulling manifests", "Pulling blobs").
var contentPath = regexp.MustCompile(`^/v2/(.+)/(manifests|blobs)/([^/]+)$`)

// ServeHTTP answers one request of the child. What was answered in part ends in a broken connection: half of a blob must
// not look whole.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// net/http reads Basic credentials from one header only.
	if !p.isPassword(&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}) {
		w.Header().Set("Proxy-Authenticate", `Basic realm="build"`)
		refuse(w, http.StatusProxyAuthRequired, "only the build itself is served")
		return
	}
	p.answer(w, r)
}

// answer answers who may ask.
func (p *proxy) answer(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead:
		refuse(w, http.StatusMethodNotAllowed, "only pulls are served")
	case r.URL.Path == "/v2/":
		// The specification's first question: yes, this is a registry.
	default:
		if !p.serve(w, r) {
			panic(http.ErrAbortHandler)
		}
	}
}

func (p *proxy) isPassword(r *http.Request) bool {
	_, password, _ := r.BasicAuth()
	return subtle.ConstantTimeCompare([]byte(password), []byte(p.password)) == 1
}

// serve answers with a manifest or a blob. It is false where an answer has begun that cannot be ended.
func (p *proxy) serve(w http.ResponseWriter, r *http.Request) bool {
	match := contentPath.FindStringSubmatch(r.URL.Path)
	if match == nil {
		refuse(w, http.StatusNotFound, "only manifests and blobs are served")
		return true
	}
	from, allowed := p.allowed[r.URL.Host+"/"+match[1]]
	if !allowed || p.puller == nil {
		p.fail(r.Context(), fault.New(fault.Denied, "pulling from %q: it is not among the images of the Dockerfile",
			r.URL.Host+"/"+match[1]))
		refuse(w, http.StatusForbidden, "the Dockerfile does not name this repository")
		return true
	}
	err := p.pull(w, r, from, match[2], match[3])
	if err == nil || errors.Is(err, errBegun) {
		return err == nil
	}
	err = fmt.Errorf("pulling %q: %w", join(from, match[3]), err)
	if from.Name() != p.optional {
		p.fail(r.Context(), err)
	}
	// Nothing that the child would try again: the puller has done that.
	status := http.StatusForbidden
	if fault.KindOf(err) == fault.NotFound {
		status = http.StatusNotFound
	}
	refuse(w, status, "the image cannot be pulled")
	return true
}

// errBegun ends an answer that has begun.
var errBegun = errors.New("the answer has begun")

// pull fetches one thing. A crash on the way is a pull that failed: net/http would put its trace into the log.
func (p *proxy) pull(w http.ResponseWriter, r *http.Request, from name.Repository, kind, reference string) (err error) {
	defer fault.Catch(&err)
	if kind == "blobs" {
		return p.blob(w, r, from, reference)
	}
	return p.manifest(w, r, from, reference)
}

func (p *proxy) manifest(w http.ResponseWriter, r *http.Request, from name.Repository, reference string) error {
	mediaType, content, err := p.puller.Manifest(r.Context(), from, reference)
	if err != nil {
		return err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return err
	}
	p.note(from, content)
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if r.Method == http.MethodGet {
		_, _ = w.Write(content) // the child hears of a broken connection by itself
	}
	return nil
}

// note keeps to which blobs a manifest refers.
func (p *proxy) note(from name.Repository, content []byte) {
	var manifest struct {
		Config v1.Descriptor   `json:"config"`
		Layers []v1.Descriptor `json:"layers"`
	}
	_ = json.Unmarshal(content, &manifest) // what is none refers to nothing
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, blob := range append(manifest.Layers, manifest.Config) {
		p.blobs[join(from, blob.Digest.String())] = blob.Size
	}
}

func (p *proxy) blob(w http.ResponseWriter, r *http.Request, from name.Repository, reference string) error {
	p.mu.Lock()
	size, known := p.blobs[join(from, reference)]
	p.mu.Unlock()
	digest, err := v1.NewHash(reference)
	if err != nil || !known {
		return fault.New(fault.NotFound, "no manifest that was pulled refers to it")
	}
	if r.Method == http.MethodHead {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
		return nil
	}
	content, _, err := p.puller.Blob(r.Context(), from, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	reading := &remembering{Reader: content}
	if _, err = io.Copy(w, reading); err == nil {
		return nil
	}
	if reading.err != nil { // a blob that the child did not take is no failure of the pull
		p.fail(r.Context(), fmt.Errorf("pulling %q: %w", join(from, reference), reading.err))
	}
	return errBegun
}

// remembering keeps the error of reading apart from that of writing what was read.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(p []byte) (n int, err error) {
	defer func() {
		if err != nil && !errors.Is(err, io.EOF) {
			r.err = err
		}
	}()
	defer fault.Catch(&err)
	return r.Reader.Read(p)
}

// fail keeps the first failure that is not the child's own going away.
func (p *proxy) fail(asked context.Context, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cause == nil && asked.Err() == nil {
		p.cause = err
	}
}

// refuse answers in the form of the distribution specification ("Error Codes").
func refuse(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": []map[string]string{{"code": "DENIED", "message": message}}})
}

func join(from name.Repository, reference string) string {
	if _, err := v1.NewHash(reference); err == nil {
		return from.Name() + "@" + reference
	}
	return from.Name() + ":" + reference
}
