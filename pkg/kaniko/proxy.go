package kaniko

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"dockline/pkg/fault"
)

// proxy lets the child pull the images that the Dockerfile names, and nothing else, with credentials that stay in the
// parent. It listens on loopback, where a RUN can connect too; only the child knows the token in the paths.
type proxy struct {
	token    string
	puller   Puller
	listener net.Listener
	server   *http.Server
	hosts    []string                     // as Kaniko looks them up
	allowed  map[string][]name.Repository // by host

	mu    sync.Mutex
	bases []Base
	cause error // why the first pull failed, for the build's own error
}

func (b Build) startProxy() (*proxy, error) {
	p := &proxy{token: newToken(), puller: b.Puller, allowed: map[string][]name.Repository{}}
	for _, image := range b.Images {
		reference, err := name.ParseReference(image, name.WeakValidation)
		if err != nil {
			return nil, fault.New(fault.BuildFailed, "reading the image name %q: %w", image, err)
		}
		host := reference.Context().RegistryStr()
		p.allowed[host] = append(p.allowed[host], reference.Context())
	}
	p.hosts = slices.Sorted(maps.Keys(p.allowed))
	var err error
	p.listener, err = net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fault.New(fault.Unexpected, "listening on loopback for the build's pulls: %w", err)
	}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: time.Minute}
	go func() { _ = p.server.Serve(p.listener) }() // ends with close
	return p, nil
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) close() { _ = p.server.Close() }

// used returns the images that were pulled by a tag or a digest, in the order of their first use.
func (p *proxy) used() []Base {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.bases)
}

// failed returns why the first pull failed.
func (p *proxy) failed() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cause
}

// maps returns for each registry's host where the child finds it: "PROXY/TOKEN/INDEX".
func (p *proxy) maps() map[string]string {
	found := map[string]string{}
	for i, host := range p.hosts {
		found[host] = p.address() + "/" + p.token + "/" + strconv.Itoa(i)
	}
	return found
}

// ServeHTTP answers GET and HEAD of /v2/TOKEN/INDEX/REPOSITORY/{manifests,blobs}/REFERENCE.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "only pulling is possible here", http.StatusMethodNotAllowed)
		return
	}
	if r.URL.Path == "/v2/" {
		return // the specification's first question: yes, this is a registry
	}
	rest, known := strings.CutPrefix(r.URL.Path, "/v2/"+p.token+"/")
	index, rest, _ := strings.Cut(rest, "/")
	number, err := strconv.Atoi(index)
	if !known || err != nil || number < 0 || number >= len(p.hosts) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	for _, kind := range []string{"/manifests/", "/blobs/"} {
		at := strings.LastIndex(rest, kind)
		if at < 0 {
			continue
		}
		repository := slices.IndexFunc(p.allowed[p.hosts[number]], func(one name.Repository) bool {
			return one.RepositoryStr() == rest[:at]
		})
		if repository < 0 || p.puller == nil {
			break
		}
		p.answer(w, r, kind, p.allowed[p.hosts[number]][repository], rest[at+len(kind):])
		return
	}
	http.Error(w, "the Dockerfile does not name this repository", http.StatusForbidden)
}

func (p *proxy) answer(w http.ResponseWriter, r *http.Request, kind string, from name.Repository, reference string) {
	var err error
	if kind == "/blobs/" {
		err = p.blob(r.Context(), w, from, reference)
	} else {
		err = p.manifest(r.Context(), w, r.Method, from, reference)
	}
	if err == nil {
		return
	}
	p.mu.Lock()
	if p.cause == nil {
		p.cause = err
	}
	p.mu.Unlock()
	http.Error(w, err.Error(), statusFor(err))
}

func (p *proxy) manifest(
	ctx context.Context, w http.ResponseWriter, method string, from name.Repository, reference string,
) error {
	mediaType, content, err := p.puller.Manifest(ctx, from, reference)
	if err != nil {
		return err
	}
	digest, _, err := v1.SHA256(bytes.NewReader(content))
	if err != nil {
		return err
	}
	separator := ":"
	if strings.Contains(reference, ":") {
		separator = "@"
	}
	base := Base{Reference: from.String() + separator + reference, Digest: digest}
	p.mu.Lock()
	if !slices.Contains(p.bases, base) {
		p.bases = append(p.bases, base)
	}
	p.mu.Unlock()
	w.Header().Set("Content-Type", mediaType)
	w.Header().Set("Docker-Content-Digest", digest.String())
	w.Header().Set("Content-Length", strconv.Itoa(len(content)))
	if method == http.MethodGet {
		_, _ = w.Write(content) // the child hears of a broken connection by itself
	}
	return nil
}

func (p *proxy) blob(ctx context.Context, w http.ResponseWriter, from name.Repository, reference string) error {
	digest, err := v1.NewHash(reference)
	if err != nil {
		return fault.New(fault.NotFound, "reading the digest %q: %w", reference, err)
	}
	content, size, err := p.puller.Blob(ctx, from, digest)
	if err != nil {
		return err
	}
	defer content.Close()
	if size >= 0 {
		w.Header().Set("Content-Length", strconv.FormatInt(size, 10))
	}
	if _, err := io.Copy(w, content); err != nil {
		panic(http.ErrAbortHandler) // half of a blob must not look whole
	}
	return nil
}

func statusFor(err error) int {
	switch {
	case errors.Is(err, context.Canceled):
		return http.StatusServiceUnavailable
	case fault.KindOf(err) == fault.NotFound:
		return http.StatusNotFound
	case fault.KindOf(err) == fault.Denied:
		return http.StatusForbidden
	}
	return http.StatusBadGateway
}
