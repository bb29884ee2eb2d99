package registry_test

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/random"
	"golang.org/x/sync/errgroup"

	"dockline/e2e/faultyregistry"
	"dockline/pkg/registry"
)

// TestALayerThatSeveralImagesShareTravelsOnce: the second repository is sent nothing; the registry is asked to take all
// of it over from the first, also while that is still being sent.
func TestALayerThatSeveralImagesShareTravelsOnce(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source), plain(t, target)
	image := randomImage(t)
	const services = 8
	// This registry finds a blob in every repository, and mounts nothing: let it say what others would.
	target.Break("HEAD /blobs/", -1, faultyregistry.Status(404, ""))
	target.Break("POST /uploads/", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		if r.URL.Query().Get("mount") != "" {
			w.WriteHeader(http.StatusCreated)
			return
		}
		next.ServeHTTP(w, r)
	})
	var jobs []registry.Job
	for i := range services {
		name := fmt.Sprintf("a/service%d", i)
		pushed := push(t, from.Repository(name), "1.0", image)
		jobs = append(jobs, registry.Job{From: from.Repository(name), Root: pushed, To: to.Repository(name)})
	}
	var copier registry.Copier
	var mu sync.Mutex
	sum := registry.Copied{}
	var group errgroup.Group
	for _, job := range jobs {
		group.Go(func() error {
			copied, err := copier.Copy(t.Context(), job)
			mu.Lock()
			defer mu.Unlock()
			sum.Blobs += copied.Blobs
			sum.Mounted += copied.Mounted
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	if sum.Blobs != 3*services || sum.Mounted != 3*(services-1) {
		t.Errorf("%d blobs, %d mounted", sum.Blobs, sum.Mounted)
	}
	if puts := count(target, "PUT ") - services; puts != 3 { // without the manifests
		t.Errorf("%d blobs were sent, want 3: %v", puts, target.Requests())
	}
}

// TestARegistryThatRefusesMountsIsSentAll, and nobody waits for nothing.
func TestARegistryThatRefusesMountsIsSentAll(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source), plain(t, target)
	image := randomImage(t)
	target.Break("HEAD /blobs/", -1, faultyregistry.Status(404, ""))
	var copier registry.Copier
	for i := range 3 {
		name := fmt.Sprintf("a/service%d", i)
		pushed := push(t, from.Repository(name), "1.0", image)
		copied, err := copier.Copy(t.Context(), registry.Job{From: from.Repository(name), Root: pushed, To: to.Repository(name)})
		if err != nil || copied.Mounted != 0 || copied.Present != 0 || copied.Bytes == 0 {
			t.Errorf("%s: %+v, %v", name, copied, err)
		}
	}
}

// TestABusyRegistryGetsFewerCalls: one that takes three calls at a time and answers 429 to more is copied to all the same.
func TestABusyRegistryGetsFewerCalls(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	image, err := random.Image(512, 40)
	if err != nil {
		t.Fatal(err)
	}
	from := plain(t, source).Repository("a/b")
	pushed := push(t, from, "1.0", image)
	const bearable = 3
	var mu sync.Mutex
	busy, refused := 0, 0
	target.Break("* /", -1, func(w http.ResponseWriter, r *http.Request, next http.Handler) {
		mu.Lock()
		busy++
		tooMany := busy > bearable
		if tooMany {
			refused++
		}
		mu.Unlock()
		defer func() {
			mu.Lock()
			busy--
			mu.Unlock()
		}()
		if tooMany {
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		next.ServeHTTP(w, r)
	})
	patient := registry.Config{Address: target.Host(), Insecure: true, Patience: impatient}
	patient.Patience.Attempts = 12
	to := open(t, patient).Repository("a/b")
	copied, err := new(registry.Copier).Copy(t.Context(), registry.Job{From: from, Root: pushed, To: to})
	if err != nil || copied.Blobs != 41 {
		t.Errorf("%+v, %v, after %d refusals", copied, err, refused)
	}
	target.Mend()
	complete(t, target, "a/b@"+pushed.Digest.String())
}

// TestANewRepositoryIsSentAllUnasked, and one that is there is asked first.
func TestANewRepositoryIsSentAllUnasked(t *testing.T) {
	t.Parallel()
	source, target := faultyregistry.Start(t), faultyregistry.Start(t)
	from, to := plain(t, source).Repository("a/b"), plain(t, target).Repository("a/b")
	first, second := push(t, from, "1.0", randomImage(t)), push(t, from, "2.0", randomImage(t))
	for i, root := range []registry.Manifest{first, second} {
		target.Forget()
		var copier registry.Copier
		copier.Prepare(t.Context(), to)
		if _, err := copier.Copy(t.Context(), registry.Job{From: from, Root: root, To: to}); err != nil {
			t.Fatal(err)
		}
		if heads := count(target, "HEAD "); (heads > 0) != (i > 0) {
			t.Errorf("copy %d: %d blobs were looked for", i+1, heads)
		}
	}
}
