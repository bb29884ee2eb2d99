package story

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"dockline/e2e/baseimage"
	"dockline/e2e/sandbox"
)

func TestMain(m *testing.M) {
	sandbox.Init()
	status := m.Run()
	if dir, err := programs(); err == nil {
		_ = os.RemoveAll(dir)
	}
	os.Exit(status)
}

// programs are the programs of the story, compiled once.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "story-programs-")
	if err != nil {
		return "", err
	}
	return dir, CompileQuickly(context.Background(), dir)
})

// open starts a world, and a runner for its steps.
func open(t *testing.T) (*World, Runner) {
	t.Helper()
	if err := sandbox.Available(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skipf("THE STORY IS NOT TESTED: %v", err)
	}
	compiled, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	world, sandboxes := filepath.Join(dir, "world"), filepath.Join(dir, "sandboxes")
	for _, folder := range []string{world, sandboxes} {
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	opened, err := Open(t.Context(), compiled, world)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(opened.Close)
	return opened, Sandboxed{Programs: compiled, Dir: sandboxes}
}

// TestEachFactIsFalsifiedInTurn makes each fact of the story false at its source just before it is looked for, and has
// the teller end there; then it makes it true again, and the story goes on.
func TestEachFactIsFalsifiedInTurn(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	world, runner := open(t)
	f := &falsifier{world: world, impostors: map[string]bool{}}
	var out bytes.Buffer
	kinds := map[string]int{}
	teller := &Teller{Out: &out, Check: func(ctx context.Context, fact Fact) error {
		kinds[fmt.Sprintf("%T", fact.About)]++
		restore, err := f.falsify(ctx, fact)
		if err != nil {
			return fmt.Errorf("falsifying it: %w", err)
		}
		fooled := &Teller{Out: io.Discard}
		if fooled.check(ctx, fact) == nil {
			t.Errorf("%q is told, and it is false", fact.Name)
		}
		if err := restore(); err != nil {
			return fmt.Errorf("making it true again: %w", err)
		}
		return fact.Holds(ctx)
	}}
	if err := Tell(ctx, world, runner, teller); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	if teller.Facts < leastFacts || len(kinds) != 6 {
		t.Errorf("%d facts were told, of the kinds %v", teller.Facts, kinds)
	}
}

// leastFacts is the number of facts in the story. It only ever grows.
const leastFacts = 93

// TestTheStoryEndsWhereAFactIsNotTrue has the story fail by name, and show what the latest step said.
func TestTheStoryEndsWhereAFactIsNotTrue(t *testing.T) {
	t.Parallel()
	world, runner := open(t)
	f := &falsifier{world: world, impostors: map[string]bool{}}
	const name = "testing holds it under its commit too"
	var out bytes.Buffer
	teller := &Teller{Out: &out, Check: func(ctx context.Context, fact Fact) error {
		if fact.Name == name {
			if _, err := f.falsify(ctx, fact); err != nil {
				t.Fatal(err)
			}
		}
		return fact.Holds(ctx)
	}}
	err := Tell(t.Context(), world, runner, teller)
	if err == nil || !strings.Contains(err.Error(), name) || teller.Facts != 3 {
		t.Errorf("after %d facts it ended with: %v", teller.Facts, err)
	}
	if text := out.String(); !strings.Contains(text, "NOT TRUE: "+name) || !strings.Contains(text, "| ") {
		t.Errorf("it told:\n%s", text)
	}
}

// falsifier makes facts false where they are read from.
type falsifier struct {
	world     *World
	impostors map[string]bool // namespaces that have one
}

type restore = func() error

func (f *falsifier) falsify(ctx context.Context, fact Fact) (restore, error) {
	switch about := fact.About.(type) {
	case *Outcome:
		return falsifyOutcome(about), nil
	case TagOf:
		return f.falsifyTag(ctx, about)
	case BlobsOf:
		return falsifyBlobs(ctx, about)
	case TagOfStream:
		return falsifyStream(about.Environment)
	case PageOf:
		return f.falsifyPage(ctx, about.Environment)
	case Output:
		length := f.world.output.Len()
		f.world.output.WriteString("token=" + f.world.Prod.Token)
		return func() error { f.world.output.Truncate(length); return nil }, nil
	}
	return nil, fmt.Errorf("nobody knows how to falsify a %T", fact.About)
}

// falsifyOutcome has a step end otherwise, hand on something else and say nothing of it.
func falsifyOutcome(o *Outcome) restore {
	saved := *o
	*o = Outcome{Step: saved.Step, Stdout: "nothing", Stderr: "nothing", Results: map[string]string{
		"COMMIT": "forged", "PROMOTION": "forged", "VERDICT": "forged", "PREVIOUS_DIGEST": "forged", "DESTINATION_DIGEST": "forged",
	}}
	if saved.Status == 0 {
		o.Status = 1
	}
	return func() error { *o = saved; return nil }
}

// falsifyTag takes a tag away in testing, where the cluster could import what is put there instead, and has it stand for
// another image in production.
func (f *falsifier) falsifyTag(ctx context.Context, about TagOf) (restore, error) {
	r := about.Registry
	reference, err := r.tag(about.Tag)
	if err != nil {
		return nil, err
	}
	digest, err := r.Digest(ctx, about.Tag)
	if err != nil {
		return nil, err
	}
	remove := func() error { return remote.Delete(reference, r.options(ctx)...) }
	if digest == "" {
		return remove, r.pushImpostor(ctx, reference)
	}
	held, err := remote.Get(reference, r.options(ctx)...)
	if err != nil {
		return nil, err
	}
	back := func() error { return remote.Put(reference, held, r.options(ctx)...) }
	if r == f.world.Testing {
		return back, remove()
	}
	return back, r.pushImpostor(ctx, reference)
}

func (r *Registry) pushImpostor(ctx context.Context, reference name.Reference) error {
	impostor, err := impostorImage()
	if err != nil {
		return err
	}
	return remote.Write(reference, impostor, r.options(ctx)...)
}

var impostorImage = sync.OnceValues(func() (v1.Image, error) {
	return baseimage.Pack(baseimage.File{Path: "/impostor", Mode: 0o644, Content: []byte("impostor")})
})

// falsifyBlobs takes the image's configuration away.
func falsifyBlobs(ctx context.Context, about BlobsOf) (restore, error) {
	r := about.Registry
	reference, err := r.tag(about.Tag)
	if err != nil {
		return nil, err
	}
	image, err := r.image(ctx, about.Tag)
	if err != nil {
		return nil, err
	}
	raw, err := image.RawConfigFile()
	if err != nil {
		return nil, err
	}
	digest, err := image.ConfigName()
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete,
		"https://"+r.Host+"/v2/"+ImageName+"/blobs/"+digest.String(), nil)
	if err != nil {
		return nil, err
	}
	request.SetBasicAuth(r.Username, r.Password)
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	response.Body.Close()
	if response.StatusCode != http.StatusAccepted {
		return nil, fmt.Errorf("deleting the configuration is answered %d", response.StatusCode)
	}
	return func() error {
		layer := blob{digest, raw}
		return remote.WriteLayer(reference.Context(), layer, r.options(ctx)...)
	}, nil
}

// blob is bytes that are written as they are.
type blob struct {
	digest v1.Hash
	bytes  []byte
}

func (b blob) Digest() (v1.Hash, error)             { return b.digest, nil }
func (b blob) DiffID() (v1.Hash, error)             { return b.digest, nil }
func (b blob) Compressed() (io.ReadCloser, error)   { return io.NopCloser(bytes.NewReader(b.bytes)), nil }
func (b blob) Uncompressed() (io.ReadCloser, error) { return b.Compressed() }
func (b blob) Size() (int64, error)                 { return int64(len(b.bytes)), nil }
func (b blob) MediaType() (types.MediaType, error) {
	return "application/vnd.oci.image.config.v1+json", nil
}

// falsifyStream has the cluster answer by other digests, and the contrary about schedules.
func falsifyStream(e *Environment) (restore, error) {
	truth := e.API
	target, err := url.Parse(truth)
	if err != nil {
		return nil, err
	}
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = e.client.Transport
	proxy.ModifyResponse = func(r *http.Response) error {
		text, err := io.ReadAll(r.Body)
		if err != nil {
			return err
		}
		text = anyDigest.ReplaceAll(text, []byte("sha256:"+strings.Repeat("0", 64)))
		if scheduled := []byte(`"scheduled":true`); bytes.Contains(text, scheduled) {
			text = bytes.ReplaceAll(text, scheduled, []byte(`"scheduled":false`))
		} else {
			text = bytes.ReplaceAll(text, []byte(`"importPolicy":{`), []byte(`"importPolicy":{"scheduled":true,`))
		}
		r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(text)), int64(len(text))
		r.Header.Set("Content-Length", fmt.Sprint(len(text)))
		return nil
	}
	liar := httptest.NewServer(proxy)
	e.API = liar.URL
	return func() error { e.API = truth; liar.Close(); return nil }, nil
}

var anyDigest = regexp.MustCompile(`sha256:[0-9a-f]{64}`)

// falsifyPage has the route lead to another service, which really runs.
func (f *falsifier) falsifyPage(ctx context.Context, e *Environment) (restore, error) {
	if !f.impostors[e.Namespace] {
		if err := e.startImpostor(ctx); err != nil {
			return nil, err
		}
		f.impostors[e.Namespace] = true
	}
	lead := func(to string) error {
		address := e.API + "/apis/route.openshift.io/v1/namespaces/" + e.Namespace + "/routes/" + appName
		_, err := ask(ctx, e.client, http.MethodPatch, address, e.admin,
			map[string]any{"spec": map[string]any{"to": map[string]any{"kind": "Service", "name": to}}}, http.StatusOK)
		return err
	}
	if err := lead("impostor"); err != nil {
		return nil, err
	}
	if page, err := e.Page(ctx); err != nil || !strings.Contains(page, "version.txt") {
		return nil, fmt.Errorf("the impostor shows %q, %w", page, err)
	}
	return func() error { return lead(appName) }, nil
}

// startImpostor runs the base image as a service of its own, which serves a page about nothing.
func (e *Environment) startImpostor(ctx context.Context) error {
	base, err := baseimage.Web(ctx)
	if err != nil {
		return err
	}
	if err := e.registry.push(ctx, BaseName, base); err != nil {
		return err
	}
	labels := map[string]any{"deployment": "impostor"}
	container := map[string]any{
		"name": "impostor", "image": e.registry.Host + "/" + BaseName, "command": []any{"/bin/serve", "/srv"},
		"ports": []any{map[string]any{"containerPort": 8080}},
	}
	for path, object := range map[string]map[string]any{
		"/apis/apps/v1/namespaces/" + e.Namespace + "/deployments": {
			"apiVersion": "apps/v1", "kind": "Deployment", "spec": map[string]any{
				"replicas": 1, "selector": map[string]any{"matchLabels": labels},
				"template": map[string]any{
					"metadata": map[string]any{"labels": labels}, "spec": map[string]any{"containers": []any{container}},
				},
			},
		},
		"/api/v1/namespaces/" + e.Namespace + "/services": {
			"apiVersion": "v1", "kind": "Service", "spec": map[string]any{
				"selector": labels, "ports": []any{map[string]any{"port": 8080}},
			},
		},
	} {
		object["metadata"] = map[string]any{"name": "impostor"}
		if _, err := ask(ctx, e.client, http.MethodPost, e.API+path, e.admin, object, http.StatusCreated); err != nil {
			return err
		}
	}
	ready := e.API + "/apis/apps/v1/namespaces/" + e.Namespace + "/deployments/impostor"
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		text, err := ask(ctx, e.client, http.MethodGet, ready, e.admin, nil, http.StatusOK)
		if err != nil {
			return err
		}
		if strings.Contains(string(text), `"readyReplicas":1`) {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond): // and look again
		}
	}
	return errors.New("the impostor does not get ready")
}
